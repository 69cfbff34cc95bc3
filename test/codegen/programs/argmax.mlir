// Greedy sampling: the first of the largest logits of a row, computed 256 columns at a time.
!l = !tile.view<?x1000xf32, activation, logit_rows>
!t = !tile.view<?xi32, output, logit_rows>
tile.program @argmax(%logits: !l, %tokens: !t) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (s3)> {
  %row = tile.program_id 0
  %c0 = arith.constant 0 : index
  %c256 = arith.constant 256 : index
  %c1000 = arith.constant 1000 : index
  %neg = arith.constant dense<-3.0e38> : tensor<1xf32>
  %zero = arith.constant dense<0> : tensor<1xi32>
  %best, %where = scf.for %k = %c0 to %c1000 step %c256 iter_args(%b = %neg, %w = %zero) -> (tensor<1xf32>, tensor<1xi32>) {
    %x0 = tile.load %logits[%row, %k] : !l -> tensor<1x256xf32>
    %j = tile.iota axis 1 : tensor<1x256xi32>
    %k_i = arith.index_cast %k : index to i32
    %kt = tensor.splat %k_i : tensor<1x256xi32>
    %id = arith.addi %j, %kt : tensor<1x256xi32>
    %v = arith.constant dense<1000> : tensor<1x256xi32>
    %in = arith.cmpi slt, %id, %v : tensor<1x256xi32>
    %low = arith.constant dense<-3.0e38> : tensor<1x256xf32>
    %x = arith.select %in, %x0, %low : tensor<1x256xi1>, tensor<1x256xf32>
    %m, %i = tile.arg_max %x : tensor<1x256xf32> -> tensor<1xf32>, tensor<1xi32>
    %kt1 = tensor.splat %k_i : tensor<1xi32>
    %id1 = arith.addi %i, %kt1 : tensor<1xi32>
    %gt = arith.cmpf ogt, %m, %b : tensor<1xf32>
    %b1 = arith.select %gt, %m, %b : tensor<1xi1>, tensor<1xf32>
    %w1 = arith.select %gt, %id1, %w : tensor<1xi1>, tensor<1xi32>
    scf.yield %b1, %w1 : tensor<1xf32>, tensor<1xi32>
  }
  tile.store %where, %tokens[%row] : tensor<1xi32>, !t
}
