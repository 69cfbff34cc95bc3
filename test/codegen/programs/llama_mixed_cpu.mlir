// Every program of a one-layer Llama (mixed step, cpu), as convert-llm-to-tile writes it.
#map = affine_map<()[s0, s1, s2, s3, s4, s5] -> (s0)>
#map1 = affine_map<()[s0, s1, s2, s3, s4, s5] -> (12, s0 ceildiv 16)>
#map2 = affine_map<()[s0, s1, s2, s3, s4, s5] -> (2, s2)>
#map3 = affine_map<()[s0, s1, s2, s3, s4, s5] -> (8, s0 ceildiv 16)>
#map4 = affine_map<()[s0, s1, s2, s3, s4, s5] -> (32, s0 ceildiv 16)>
#map5 = affine_map<()[s0, s1, s2, s3, s4, s5] -> (32, s3 ceildiv 16)>
#map6 = affine_map<()[s0, s1, s2, s3, s4, s5] -> (s4 ceildiv 64)>
#map7 = affine_map<()[s0, s1, s2, s3, s4, s5] -> (s3)>
module {
  tile.program @embed_tokens(%arg0: !tile.view<?xi32, meta, tokens>, %arg1: !tile.view<1000x256xbf16, weight>, %arg2: !tile.view<?x256xbf16, output, tokens>) grid #map {
    %0 = tile.program_id 0
    %1 = tile.load %arg0[%0] : <?xi32, meta, tokens> -> tensor<1xi32>
    %c0 = arith.constant 0 : index
    %c256 = arith.constant 256 : index
    %c256_0 = arith.constant 256 : index
    scf.for %arg3 = %c0 to %c256 step %c256_0 {
      %2 = tile.gather %arg1[%1, %arg3] : <1000x256xbf16, weight>, tensor<1xi32> -> tensor<1x256xbf16>
      tile.store %2, %arg2[%0, %arg3] : tensor<1x256xbf16>, <?x256xbf16, output, tokens>
    }
  }
  tile.program @qkv(%arg0: !tile.view<384x256xbf16, weight>, %arg1: !tile.view<?x256xbf16, activation, tokens>, %arg2: !tile.view<256xbf16, weight>, %arg3: !tile.view<?xi32, meta, tokens>, %arg4: !tile.view<128x32xf32, weight>, %arg5: !tile.view<?x256xbf16, output, tokens>, %arg6: !tile.view<?xi32, meta, tokens>, %arg7: !tile.view<?xi32, meta>, %arg8: !tile.view<?x32xbf16, kv, kv_rows>, %arg9: !tile.view<?x32xbf16, kv, kv_rows>) grid #map1 {
    %0 = tile.program_id 0
    %c32 = arith.constant 32 : index
    %1 = arith.muli %0, %c32 : index
    %2 = tile.program_id 1
    %c16 = arith.constant 16 : index
    %3 = arith.muli %2, %c16 : index
    %cst = arith.constant dense<0.000000e+00> : tensor<16x32xf32>
    %cst_0 = arith.constant dense<0.000000e+00> : tensor<16xf32>
    %c0 = arith.constant 0 : index
    %c256 = arith.constant 256 : index
    %c256_1 = arith.constant 256 : index
    %4:2 = scf.for %arg10 = %c0 to %c256 step %c256_1 iter_args(%arg11 = %cst, %arg12 = %cst_0) -> (tensor<16x32xf32>, tensor<16xf32>) {
      %20 = tile.load %arg1[%3, %arg10] : <?x256xbf16, activation, tokens> -> tensor<16x256xbf16>
      %21 = arith.extf %20 : tensor<16x256xbf16> to tensor<16x256xf32>
      %22 = arith.mulf %21, %21 : tensor<16x256xf32>
      %23 = tile.reduce  add %22 axis 1 : tensor<16x256xf32> -> tensor<16xf32>
      %24 = arith.addf %arg12, %23 : tensor<16xf32>
      %25 = tile.load %arg2[%arg10] : <256xbf16, weight> -> tensor<256xbf16>
      %26 = arith.extf %25 : tensor<256xbf16> to tensor<256xf32>
      %27 = tile.broadcast %26 axis 0 : tensor<256xf32> -> tensor<16x256xf32>
      %28 = arith.mulf %21, %27 : tensor<16x256xf32>
      %29 = arith.truncf %28 : tensor<16x256xf32> to tensor<16x256xbf16>
      %30 = tile.load %arg0[%1, %arg10] : <384x256xbf16, weight> -> tensor<32x256xbf16>
      %31 = tile.dot %29, %30, %arg11 transpose_rhs : tensor<16x256xbf16>, tensor<32x256xbf16>, tensor<16x32xf32>
      scf.yield %31, %24 : tensor<16x32xf32>, tensor<16xf32>
    }
    %cst_2 = arith.constant dense<3.906250e-03> : tensor<16xf32>
    %5 = arith.mulf %4#1, %cst_2 : tensor<16xf32>
    %cst_3 = arith.constant dense<9.99999974E-6> : tensor<16xf32>
    %6 = arith.addf %5, %cst_3 : tensor<16xf32>
    %7 = math.rsqrt %6 : tensor<16xf32>
    %8 = tile.broadcast %7 axis 1 : tensor<16xf32> -> tensor<16x32xf32>
    %9 = arith.mulf %4#0, %8 : tensor<16x32xf32>
    %c32_4 = arith.constant 32 : index
    %10 = arith.divui %1, %c32_4 : index
    %c32_5 = arith.constant 32 : index
    %11 = arith.remui %1, %c32_5 : index
    %c2 = arith.constant 2 : index
    %12 = arith.divui %11, %c2 : index
    %c16_6 = arith.constant 16 : index
    %13 = arith.addi %12, %c16_6 : index
    %even, %odd = tile.deinterleave %9 : tensor<16x32xf32> -> tensor<16x16xf32>
    %14 = tile.load %arg3[%3] : <?xi32, meta, tokens> -> tensor<16xi32>
    %c10 = arith.constant 10 : index
    %15 = arith.cmpi ult, %10, %c10 : index
    %16:2 = scf.if %15 -> (tensor<16x16xf32>, tensor<16x16xf32>) {
      %20 = tile.gather %arg4[%14, %12] : <128x32xf32, weight>, tensor<16xi32> -> tensor<16x16xf32>
      %21 = tile.gather %arg4[%14, %13] : <128x32xf32, weight>, tensor<16xi32> -> tensor<16x16xf32>
      %22 = arith.mulf %even, %20 : tensor<16x16xf32>
      %23 = arith.mulf %odd, %21 : tensor<16x16xf32>
      %24 = arith.subf %22, %23 : tensor<16x16xf32>
      %25 = arith.mulf %odd, %20 : tensor<16x16xf32>
      %26 = arith.mulf %even, %21 : tensor<16x16xf32>
      %27 = arith.addf %25, %26 : tensor<16x16xf32>
      scf.yield %24, %27 : tensor<16x16xf32>, tensor<16x16xf32>
    } else {
      scf.yield %even, %odd : tensor<16x16xf32>, tensor<16x16xf32>
    }
    %17 = arith.truncf %16#0 : tensor<16x16xf32> to tensor<16x16xbf16>
    %18 = arith.truncf %16#1 : tensor<16x16xf32> to tensor<16x16xbf16>
    %c8 = arith.constant 8 : index
    %19 = arith.cmpi ult, %10, %c8 : index
    scf.if %19 {
      %c32_7 = arith.constant 32 : index
      %20 = arith.muli %10, %c32_7 : index
      %c0_8 = arith.constant 0 : index
      %21 = arith.addi %20, %c0_8 : index
      %22 = arith.addi %21, %12 : index
      tile.store %17, %arg5[%3, %22] : tensor<16x16xbf16>, <?x256xbf16, output, tokens>
      %23 = arith.addi %21, %13 : index
      tile.store %18, %arg5[%3, %23] : tensor<16x16xbf16>, <?x256xbf16, output, tokens>
    } else {
      %c10_7 = arith.constant 10 : index
      %20 = arith.cmpi ult, %10, %c10_7 : index
      %c8_8 = arith.constant 8 : index
      %21 = arith.subi %10, %c8_8 : index
      %c10_9 = arith.constant 10 : index
      %22 = arith.subi %10, %c10_9 : index
      %23 = arith.select %20, %21, %22 : index
      %24 = tile.load %arg6[%3] : <?xi32, meta, tokens> -> tensor<16xi32>
      %25 = arith.index_cast %23 : index to i32
      %cst_10 = arith.constant dense<16> : tensor<16xi32>
      %cst_11 = arith.constant dense<8> : tensor<16xi32>
      %26 = arith.muli %24, %cst_11 : tensor<16xi32>
      %27 = arith.divsi %14, %cst_10 : tensor<16xi32>
      %28 = arith.addi %26, %27 : tensor<16xi32>
      %cst_12 = arith.constant dense<0> : tensor<16xi32>
      %29 = arith.cmpi slt, %14, %cst_12 : tensor<16xi32>
      %cst_13 = arith.constant dense<true> : tensor<16xi1>
      %30 = arith.xori %29, %cst_13 : tensor<16xi1>
      %cst_14 = arith.constant dense<-1> : tensor<16xi32>
      %31 = arith.select %30, %28, %cst_14 : tensor<16xi1>, tensor<16xi32>
      %32 = tile.gather %arg7[%31] : <?xi32, meta>, tensor<16xi32> -> tensor<16xi32>
      %cst_15 = arith.constant dense<2> : tensor<16xi32>
      %33 = arith.muli %32, %cst_15 : tensor<16xi32>
      %splat = tensor.splat %25 : tensor<16xi32>
      %34 = arith.addi %33, %splat : tensor<16xi32>
      %35 = arith.muli %34, %cst_10 : tensor<16xi32>
      %36 = arith.remsi %14, %cst_10 : tensor<16xi32>
      %37 = arith.addi %35, %36 : tensor<16xi32>
      %38 = arith.select %30, %37, %cst_14 : tensor<16xi1>, tensor<16xi32>
      scf.if %20 {
        tile.scatter %17, %arg8[%38, %12] : tensor<16x16xbf16>, <?x32xbf16, kv, kv_rows>, tensor<16xi32>
        tile.scatter %18, %arg8[%38, %13] : tensor<16x16xbf16>, <?x32xbf16, kv, kv_rows>, tensor<16xi32>
      } else {
        tile.scatter %17, %arg9[%38, %12] : tensor<16x16xbf16>, <?x32xbf16, kv, kv_rows>, tensor<16xi32>
        tile.scatter %18, %arg9[%38, %13] : tensor<16x16xbf16>, <?x32xbf16, kv, kv_rows>, tensor<16xi32>
      }
    }
  }
  tile.program @attention(%arg0: !tile.view<?x32xbf16, activation>, %arg1: !tile.view<?xi32, meta, query_tiles>, %arg2: !tile.view<?xi32, meta, query_tiles>, %arg3: !tile.view<?xi32, meta, query_tiles>, %arg4: !tile.view<?xi32, meta, tokens>, %arg5: !tile.view<?x32xbf16, kv, kv_rows>, %arg6: !tile.view<?x32xbf16, kv, kv_rows>, %arg7: !tile.view<?x32xbf16, output>, %arg8: !tile.view<?xi32, meta>) grid #map2 {
    %0 = tile.program_id 0
    %1 = arith.index_cast %0 : index to i32
    %2 = tile.program_id 1
    %3 = tile.read %arg1[%2] : <?xi32, meta, query_tiles> -> i32
    %4 = tile.read %arg2[%2] : <?xi32, meta, query_tiles> -> i32
    %5 = tile.read %arg3[%2] : <?xi32, meta, query_tiles> -> i32
    %c0_i32 = arith.constant 0 : i32
    %6 = arith.cmpi sge, %3, %c0_i32 : i32
    scf.if %6 {
      %7 = tile.iota axis 0 : tensor<16xi32>
      %splat = tensor.splat %4 : tensor<16xi32>
      %cst = arith.constant dense<4> : tensor<16xi32>
      %8 = arith.divsi %7, %cst : tensor<16xi32>
      %9 = arith.addi %splat, %8 : tensor<16xi32>
      %splat_0 = tensor.splat %5 : tensor<16xi32>
      %10 = arith.cmpi slt, %9, %splat_0 : tensor<16xi32>
      %cst_1 = arith.constant dense<16> : tensor<16xi32>
      %11 = arith.cmpi slt, %7, %cst_1 : tensor<16xi32>
      %12 = arith.andi %10, %11 : tensor<16xi1>
      %c4_i32 = arith.constant 4 : i32
      %13 = arith.muli %1, %c4_i32 : i32
      %splat_2 = tensor.splat %13 : tensor<16xi32>
      %cst_3 = arith.constant dense<4> : tensor<16xi32>
      %14 = arith.remsi %7, %cst_3 : tensor<16xi32>
      %15 = arith.addi %splat_2, %14 : tensor<16xi32>
      %cst_4 = arith.constant dense<8> : tensor<16xi32>
      %16 = arith.muli %9, %cst_4 : tensor<16xi32>
      %cst_5 = arith.constant dense<0> : tensor<16xi32>
      %17 = arith.addi %15, %cst_5 : tensor<16xi32>
      %18 = arith.addi %16, %17 : tensor<16xi32>
      %cst_6 = arith.constant dense<-1> : tensor<16xi32>
      %19 = arith.select %12, %18, %cst_6 : tensor<16xi1>, tensor<16xi32>
      %cst_7 = arith.constant dense<8> : tensor<16xi32>
      %20 = arith.muli %9, %cst_7 : tensor<16xi32>
      %21 = arith.addi %20, %15 : tensor<16xi32>
      %cst_8 = arith.constant dense<-1> : tensor<16xi32>
      %22 = arith.select %12, %21, %cst_8 : tensor<16xi1>, tensor<16xi32>
      %c0 = arith.constant 0 : index
      %23 = tile.gather %arg0[%19, %c0] : <?x32xbf16, activation>, tensor<16xi32> -> tensor<16x32xbf16>
      %cst_9 = arith.constant dense<-1> : tensor<16xi32>
      %24 = arith.select %12, %9, %cst_9 : tensor<16xi1>, tensor<16xi32>
      %25 = tile.gather %arg4[%24] : <?xi32, meta, tokens>, tensor<16xi32> -> tensor<16xi32>
      %26 = tile.broadcast %25 axis 1 : tensor<16xi32> -> tensor<16x64xi32>
      %c1_i32 = arith.constant 1 : i32
      %27 = arith.subi %5, %c1_i32 : i32
      %28 = arith.index_cast %27 : i32 to index
      %29 = tile.read %arg4[%28] : <?xi32, meta, tokens> -> i32
      %c1_i32_10 = arith.constant 1 : i32
      %30 = arith.addi %29, %c1_i32_10 : i32
      %c0_11 = arith.constant 0 : index
      %31 = arith.index_cast %30 : i32 to index
      %cst_12 = arith.constant dense<-1.000000e+30> : tensor<16xf32>
      %cst_13 = arith.constant dense<0.000000e+00> : tensor<16xf32>
      %cst_14 = arith.constant dense<0.000000e+00> : tensor<16x32xf32>
      %c64 = arith.constant 64 : index
      %32:3 = scf.for %arg9 = %c0_11 to %31 step %c64 iter_args(%arg10 = %cst_12, %arg11 = %cst_13, %arg12 = %cst_14) -> (tensor<16xf32>, tensor<16xf32>, tensor<16x32xf32>) {
        %37 = tile.iota axis 0 : tensor<64xi32>
        %38 = arith.index_cast %arg9 : index to i32
        %splat_17 = tensor.splat %38 : tensor<64xi32>
        %39 = arith.addi %splat_17, %37 : tensor<64xi32>
        %splat_18 = tensor.splat %30 : tensor<64xi32>
        %40 = arith.cmpi slt, %39, %splat_18 : tensor<64xi32>
        %cst_19 = arith.constant dense<-1> : tensor<64xi32>
        %41 = arith.select %40, %39, %cst_19 : tensor<64xi1>, tensor<64xi32>
        %splat_20 = tensor.splat %3 : tensor<64xi32>
        %cst_21 = arith.constant dense<16> : tensor<64xi32>
        %cst_22 = arith.constant dense<8> : tensor<64xi32>
        %42 = arith.muli %splat_20, %cst_22 : tensor<64xi32>
        %43 = arith.divsi %41, %cst_21 : tensor<64xi32>
        %44 = arith.addi %42, %43 : tensor<64xi32>
        %cst_23 = arith.constant dense<0> : tensor<64xi32>
        %45 = arith.cmpi slt, %41, %cst_23 : tensor<64xi32>
        %cst_24 = arith.constant dense<true> : tensor<64xi1>
        %46 = arith.xori %45, %cst_24 : tensor<64xi1>
        %cst_25 = arith.constant dense<-1> : tensor<64xi32>
        %47 = arith.select %46, %44, %cst_25 : tensor<64xi1>, tensor<64xi32>
        %48 = tile.gather %arg8[%47] : <?xi32, meta>, tensor<64xi32> -> tensor<64xi32>
        %cst_26 = arith.constant dense<2> : tensor<64xi32>
        %49 = arith.muli %48, %cst_26 : tensor<64xi32>
        %splat_27 = tensor.splat %1 : tensor<64xi32>
        %50 = arith.addi %49, %splat_27 : tensor<64xi32>
        %51 = arith.muli %50, %cst_21 : tensor<64xi32>
        %52 = arith.remsi %41, %cst_21 : tensor<64xi32>
        %53 = arith.addi %51, %52 : tensor<64xi32>
        %54 = arith.select %46, %53, %cst_25 : tensor<64xi1>, tensor<64xi32>
        %c0_28 = arith.constant 0 : index
        %55 = tile.gather %arg5[%54, %c0_28] : <?x32xbf16, kv, kv_rows>, tensor<64xi32> -> tensor<64x32xbf16>
        %cst_29 = arith.constant dense<0.000000e+00> : tensor<16x64xf32>
        %56 = tile.dot %23, %55, %cst_29 transpose_rhs : tensor<16x32xbf16>, tensor<64x32xbf16>, tensor<16x64xf32>
        %cst_30 = arith.constant dense<0.255034864> : tensor<16x64xf32>
        %57 = arith.mulf %56, %cst_30 : tensor<16x64xf32>
        %58 = tile.broadcast %39 axis 0 : tensor<64xi32> -> tensor<16x64xi32>
        %59 = arith.cmpi slt, %26, %58 : tensor<16x64xi32>
        %cst_31 = arith.constant dense<true> : tensor<16x64xi1>
        %60 = arith.xori %59, %cst_31 : tensor<16x64xi1>
        %cst_32 = arith.constant dense<-1.000000e+30> : tensor<16x64xf32>
        %61 = arith.select %60, %57, %cst_32 : tensor<16x64xi1>, tensor<16x64xf32>
        %62 = tile.reduce  max %61 axis 1 : tensor<16x64xf32> -> tensor<16xf32>
        %63 = arith.maximumf %arg10, %62 : tensor<16xf32>
        %64 = tile.broadcast %63 axis 1 : tensor<16xf32> -> tensor<16x64xf32>
        %65 = arith.subf %61, %64 : tensor<16x64xf32>
        %66 = math.exp2 %65 : tensor<16x64xf32>
        %cst_33 = arith.constant dense<0.000000e+00> : tensor<16x64xf32>
        %67 = arith.select %60, %66, %cst_33 : tensor<16x64xi1>, tensor<16x64xf32>
        %68 = arith.subf %arg10, %63 : tensor<16xf32>
        %69 = math.exp2 %68 : tensor<16xf32>
        %70 = arith.mulf %arg11, %69 : tensor<16xf32>
        %71 = tile.reduce  add %67 axis 1 : tensor<16x64xf32> -> tensor<16xf32>
        %72 = arith.addf %70, %71 : tensor<16xf32>
        %73 = tile.broadcast %69 axis 1 : tensor<16xf32> -> tensor<16x32xf32>
        %74 = arith.mulf %arg12, %73 : tensor<16x32xf32>
        %c0_34 = arith.constant 0 : index
        %75 = tile.gather %arg6[%54, %c0_34] : <?x32xbf16, kv, kv_rows>, tensor<64xi32> -> tensor<64x32xbf16>
        %76 = arith.truncf %67 : tensor<16x64xf32> to tensor<16x64xbf16>
        %77 = tile.dot %76, %75, %74 : tensor<16x64xbf16>, tensor<64x32xbf16>, tensor<16x32xf32>
        scf.yield %63, %72, %77 : tensor<16xf32>, tensor<16xf32>, tensor<16x32xf32>
      }
      %cst_15 = arith.constant dense<1.000000e-30> : tensor<16xf32>
      %33 = arith.maximumf %32#1, %cst_15 : tensor<16xf32>
      %34 = tile.broadcast %33 axis 1 : tensor<16xf32> -> tensor<16x32xf32>
      %35 = arith.divf %32#2, %34 : tensor<16x32xf32>
      %36 = arith.truncf %35 : tensor<16x32xf32> to tensor<16x32xbf16>
      %c0_16 = arith.constant 0 : index
      tile.scatter %36, %arg7[%22, %c0_16] : tensor<16x32xbf16>, <?x32xbf16, output>, tensor<16xi32>
    }
  }
  tile.program @o_proj(%arg0: !tile.view<256x256xbf16, weight>, %arg1: !tile.view<?x256xbf16, activation, tokens>, %arg2: !tile.view<?x256xbf16, state, tokens>) grid #map3 {
    %0 = tile.program_id 0
    %c32 = arith.constant 32 : index
    %1 = arith.muli %0, %c32 : index
    %2 = tile.program_id 1
    %c16 = arith.constant 16 : index
    %3 = arith.muli %2, %c16 : index
    %cst = arith.constant dense<0.000000e+00> : tensor<16x32xf32>
    %c0 = arith.constant 0 : index
    %c256 = arith.constant 256 : index
    %c256_0 = arith.constant 256 : index
    %4 = scf.for %arg3 = %c0 to %c256 step %c256_0 iter_args(%arg4 = %cst) -> (tensor<16x32xf32>) {
      %10 = tile.load %arg1[%3, %arg3] : <?x256xbf16, activation, tokens> -> tensor<16x256xbf16>
      %11 = tile.load %arg0[%1, %arg3] : <256x256xbf16, weight> -> tensor<32x256xbf16>
      %12 = tile.dot %10, %11, %arg4 transpose_rhs : tensor<16x256xbf16>, tensor<32x256xbf16>, tensor<16x32xf32>
      scf.yield %12 : tensor<16x32xf32>
    }
    %c0_1 = arith.constant 0 : index
    %5 = arith.addi %1, %c0_1 : index
    %6 = tile.load %arg2[%3, %5] : <?x256xbf16, state, tokens> -> tensor<16x32xbf16>
    %7 = arith.extf %6 : tensor<16x32xbf16> to tensor<16x32xf32>
    %8 = arith.addf %4, %7 : tensor<16x32xf32>
    %9 = arith.truncf %8 : tensor<16x32xf32> to tensor<16x32xbf16>
    tile.store %9, %arg2[%3, %1] : tensor<16x32xbf16>, <?x256xbf16, state, tokens>
  }
  tile.program @gate_up(%arg0: !tile.view<1024x256xbf16, weight>, %arg1: !tile.view<?x256xbf16, activation, tokens>, %arg2: !tile.view<256xbf16, weight>, %arg3: !tile.view<?x512xbf16, output, tokens>) grid #map4 {
    %0 = tile.program_id 0
    %c32 = arith.constant 32 : index
    %1 = arith.muli %0, %c32 : index
    %2 = tile.program_id 1
    %c16 = arith.constant 16 : index
    %3 = arith.muli %2, %c16 : index
    %cst = arith.constant dense<0.000000e+00> : tensor<16x32xf32>
    %cst_0 = arith.constant dense<0.000000e+00> : tensor<16xf32>
    %c0 = arith.constant 0 : index
    %c256 = arith.constant 256 : index
    %c256_1 = arith.constant 256 : index
    %4:2 = scf.for %arg4 = %c0 to %c256 step %c256_1 iter_args(%arg5 = %cst, %arg6 = %cst_0) -> (tensor<16x32xf32>, tensor<16xf32>) {
      %17 = tile.load %arg1[%3, %arg4] : <?x256xbf16, activation, tokens> -> tensor<16x256xbf16>
      %18 = arith.extf %17 : tensor<16x256xbf16> to tensor<16x256xf32>
      %19 = arith.mulf %18, %18 : tensor<16x256xf32>
      %20 = tile.reduce  add %19 axis 1 : tensor<16x256xf32> -> tensor<16xf32>
      %21 = arith.addf %arg6, %20 : tensor<16xf32>
      %22 = tile.load %arg2[%arg4] : <256xbf16, weight> -> tensor<256xbf16>
      %23 = arith.extf %22 : tensor<256xbf16> to tensor<256xf32>
      %24 = tile.broadcast %23 axis 0 : tensor<256xf32> -> tensor<16x256xf32>
      %25 = arith.mulf %18, %24 : tensor<16x256xf32>
      %26 = arith.truncf %25 : tensor<16x256xf32> to tensor<16x256xbf16>
      %27 = tile.load %arg0[%1, %arg4] : <1024x256xbf16, weight> -> tensor<32x256xbf16>
      %28 = tile.dot %26, %27, %arg5 transpose_rhs : tensor<16x256xbf16>, tensor<32x256xbf16>, tensor<16x32xf32>
      scf.yield %28, %21 : tensor<16x32xf32>, tensor<16xf32>
    }
    %cst_2 = arith.constant dense<3.906250e-03> : tensor<16xf32>
    %5 = arith.mulf %4#1, %cst_2 : tensor<16xf32>
    %cst_3 = arith.constant dense<9.99999974E-6> : tensor<16xf32>
    %6 = arith.addf %5, %cst_3 : tensor<16xf32>
    %7 = math.rsqrt %6 : tensor<16xf32>
    %8 = tile.broadcast %7 axis 1 : tensor<16xf32> -> tensor<16x32xf32>
    %9 = arith.mulf %4#0, %8 : tensor<16x32xf32>
    %even, %odd = tile.deinterleave %9 : tensor<16x32xf32> -> tensor<16x16xf32>
    %c2 = arith.constant 2 : index
    %10 = arith.divui %1, %c2 : index
    %11 = arith.negf %even : tensor<16x16xf32>
    %12 = math.exp %11 : tensor<16x16xf32>
    %cst_4 = arith.constant dense<1.000000e+00> : tensor<16x16xf32>
    %13 = arith.addf %12, %cst_4 : tensor<16x16xf32>
    %14 = arith.divf %even, %13 : tensor<16x16xf32>
    %15 = arith.mulf %14, %odd : tensor<16x16xf32>
    %16 = arith.truncf %15 : tensor<16x16xf32> to tensor<16x16xbf16>
    tile.store %16, %arg3[%3, %10] : tensor<16x16xbf16>, <?x512xbf16, output, tokens>
  }
  tile.program @down_proj(%arg0: !tile.view<256x512xbf16, weight>, %arg1: !tile.view<?x512xbf16, activation, tokens>, %arg2: !tile.view<?x256xbf16, state, tokens>) grid #map3 {
    %0 = tile.program_id 0
    %c32 = arith.constant 32 : index
    %1 = arith.muli %0, %c32 : index
    %2 = tile.program_id 1
    %c16 = arith.constant 16 : index
    %3 = arith.muli %2, %c16 : index
    %cst = arith.constant dense<0.000000e+00> : tensor<16x32xf32>
    %c0 = arith.constant 0 : index
    %c512 = arith.constant 512 : index
    %c256 = arith.constant 256 : index
    %4 = scf.for %arg3 = %c0 to %c512 step %c256 iter_args(%arg4 = %cst) -> (tensor<16x32xf32>) {
      %10 = tile.load %arg1[%3, %arg3] : <?x512xbf16, activation, tokens> -> tensor<16x256xbf16>
      %11 = tile.load %arg0[%1, %arg3] : <256x512xbf16, weight> -> tensor<32x256xbf16>
      %12 = tile.dot %10, %11, %arg4 transpose_rhs : tensor<16x256xbf16>, tensor<32x256xbf16>, tensor<16x32xf32>
      scf.yield %12 : tensor<16x32xf32>
    }
    %c0_0 = arith.constant 0 : index
    %5 = arith.addi %1, %c0_0 : index
    %6 = tile.load %arg2[%3, %5] : <?x256xbf16, state, tokens> -> tensor<16x32xbf16>
    %7 = arith.extf %6 : tensor<16x32xbf16> to tensor<16x32xf32>
    %8 = arith.addf %4, %7 : tensor<16x32xf32>
    %9 = arith.truncf %8 : tensor<16x32xf32> to tensor<16x32xbf16>
    tile.store %9, %arg2[%3, %1] : tensor<16x32xbf16>, <?x256xbf16, state, tokens>
  }
  tile.program @lm_head(%arg0: !tile.view<1000x256xbf16, weight>, %arg1: !tile.view<?x256xbf16, activation, tokens>, %arg2: !tile.view<?xi32, meta, logit_rows>, %arg3: !tile.view<256xbf16, weight>, %arg4: !tile.view<?x1000xf32, output, logit_rows>) grid #map5 {
    %0 = tile.program_id 0
    %c32 = arith.constant 32 : index
    %1 = arith.muli %0, %c32 : index
    %2 = tile.program_id 1
    %c16 = arith.constant 16 : index
    %3 = arith.muli %2, %c16 : index
    %4 = tile.load %arg2[%3] : <?xi32, meta, logit_rows> -> tensor<16xi32>
    %cst = arith.constant dense<0.000000e+00> : tensor<16x32xf32>
    %cst_0 = arith.constant dense<0.000000e+00> : tensor<16xf32>
    %c0 = arith.constant 0 : index
    %c256 = arith.constant 256 : index
    %c256_1 = arith.constant 256 : index
    %5:2 = scf.for %arg5 = %c0 to %c256 step %c256_1 iter_args(%arg6 = %cst, %arg7 = %cst_0) -> (tensor<16x32xf32>, tensor<16xf32>) {
      %11 = tile.gather %arg1[%4, %arg5] : <?x256xbf16, activation, tokens>, tensor<16xi32> -> tensor<16x256xbf16>
      %12 = arith.extf %11 : tensor<16x256xbf16> to tensor<16x256xf32>
      %13 = arith.mulf %12, %12 : tensor<16x256xf32>
      %14 = tile.reduce  add %13 axis 1 : tensor<16x256xf32> -> tensor<16xf32>
      %15 = arith.addf %arg7, %14 : tensor<16xf32>
      %16 = tile.load %arg3[%arg5] : <256xbf16, weight> -> tensor<256xbf16>
      %17 = arith.extf %16 : tensor<256xbf16> to tensor<256xf32>
      %18 = tile.broadcast %17 axis 0 : tensor<256xf32> -> tensor<16x256xf32>
      %19 = arith.mulf %12, %18 : tensor<16x256xf32>
      %20 = arith.truncf %19 : tensor<16x256xf32> to tensor<16x256xbf16>
      %21 = tile.load %arg0[%1, %arg5] : <1000x256xbf16, weight> -> tensor<32x256xbf16>
      %22 = tile.dot %20, %21, %arg6 transpose_rhs : tensor<16x256xbf16>, tensor<32x256xbf16>, tensor<16x32xf32>
      scf.yield %22, %15 : tensor<16x32xf32>, tensor<16xf32>
    }
    %cst_2 = arith.constant dense<3.906250e-03> : tensor<16xf32>
    %6 = arith.mulf %5#1, %cst_2 : tensor<16xf32>
    %cst_3 = arith.constant dense<9.99999974E-6> : tensor<16xf32>
    %7 = arith.addf %6, %cst_3 : tensor<16xf32>
    %8 = math.rsqrt %7 : tensor<16xf32>
    %9 = tile.broadcast %8 axis 1 : tensor<16xf32> -> tensor<16x32xf32>
    %10 = arith.mulf %5#0, %9 : tensor<16x32xf32>
    tile.store %10, %arg4[%3, %1] : tensor<16x32xf32>, <?x1000xf32, output, logit_rows>
  }
  tile.program @penalties(%arg0: !tile.view<?xi32, meta, penalty_entries>, %arg1: !tile.view<?xi32, meta, penalty_entries>, %arg2: !tile.view<?xi32, meta, penalty_entries>, %arg3: !tile.view<?xf32, meta, logit_rows>, %arg4: !tile.view<?xf32, meta, logit_rows>, %arg5: !tile.view<?xf32, meta, logit_rows>, %arg6: !tile.view<?xf32, state>) grid #map6 {
    %0 = tile.program_id 0
    %c64 = arith.constant 64 : index
    %1 = arith.muli %0, %c64 : index
    %2 = tile.load %arg0[%1] : <?xi32, meta, penalty_entries> -> tensor<64xi32>
    %3 = tile.load %arg1[%1] : <?xi32, meta, penalty_entries> -> tensor<64xi32>
    %4 = tile.load %arg2[%1] : <?xi32, meta, penalty_entries> -> tensor<64xi32>
    %5 = tile.gather %arg3[%2] : <?xf32, meta, logit_rows>, tensor<64xi32> -> tensor<64xf32>
    %6 = tile.gather %arg4[%2] : <?xf32, meta, logit_rows>, tensor<64xi32> -> tensor<64xf32>
    %7 = tile.gather %arg5[%2] : <?xf32, meta, logit_rows>, tensor<64xi32> -> tensor<64xf32>
    %8 = tile.iota axis 0 : tensor<64xi32>
    %9 = arith.index_cast %1 : index to i32
    %splat = tensor.splat %9 : tensor<64xi32>
    %10 = arith.addi %8, %splat : tensor<64xi32>
    %11 = tile.extent  penalty_entries
    %12 = arith.index_cast %11 : index to i32
    %splat_0 = tensor.splat %12 : tensor<64xi32>
    %13 = arith.cmpi slt, %10, %splat_0 : tensor<64xi32>
    %cst = arith.constant dense<1000> : tensor<64xi32>
    %14 = arith.muli %2, %cst : tensor<64xi32>
    %15 = arith.addi %14, %3 : tensor<64xi32>
    %cst_1 = arith.constant dense<-1> : tensor<64xi32>
    %16 = arith.select %13, %15, %cst_1 : tensor<64xi1>, tensor<64xi32>
    %17 = tile.gather %arg6[%16] : <?xf32, state>, tensor<64xi32> -> tensor<64xf32>
    %cst_2 = arith.constant dense<0.000000e+00> : tensor<64xf32>
    %18 = arith.cmpf olt, %cst_2, %17 : tensor<64xf32>
    %19 = arith.divf %17, %5 : tensor<64xf32>
    %20 = arith.mulf %17, %5 : tensor<64xf32>
    %21 = arith.select %18, %19, %20 : tensor<64xi1>, tensor<64xf32>
    %cst_3 = arith.constant dense<0> : tensor<64xi32>
    %22 = arith.cmpi slt, %cst_3, %4 : tensor<64xi32>
    %23 = arith.sitofp %4 : tensor<64xi32> to tensor<64xf32>
    %24 = arith.mulf %7, %23 : tensor<64xf32>
    %25 = arith.addf %6, %24 : tensor<64xf32>
    %26 = arith.subf %21, %25 : tensor<64xf32>
    %27 = arith.select %22, %26, %21 : tensor<64xi1>, tensor<64xf32>
    tile.scatter %27, %arg6[%16] : tensor<64xf32>, <?xf32, state>, tensor<64xi32>
  }
  tile.program @sample(%arg0: !tile.view<?x1000xf32, activation, logit_rows>, %arg1: !tile.view<?xi32, output, logit_rows>, %arg2: !tile.view<?xf32, meta, logit_rows>, %arg3: !tile.view<?xi32, meta, logit_rows>, %arg4: !tile.view<?xf32, meta, logit_rows>, %arg5: !tile.view<?xf32, meta, logit_rows>, %arg6: !tile.view<?xi32, meta, logit_rows>, %arg7: !tile.view<?xi32, meta, logit_rows>, %arg8: !tile.view<?xi32, meta, tokens>) grid #map7 {
    %0 = tile.program_id 0
    %c0 = arith.constant 0 : index
    %c1000 = arith.constant 1000 : index
    %cst = arith.constant dense<-3.000000e+38> : tensor<1x64xf32>
    %cst_0 = arith.constant dense<0> : tensor<1x64xi32>
    %c64 = arith.constant 64 : index
    %1:2 = scf.for %arg9 = %c0 to %c1000 step %c64 iter_args(%arg10 = %cst, %arg11 = %cst_0) -> (tensor<1x64xf32>, tensor<1x64xi32>) {
      %9 = tile.load %arg0[%0, %arg9] : <?x1000xf32, activation, logit_rows> -> tensor<1x64xf32>
      %10 = tile.iota axis 0 : tensor<64xi32>
      %11 = tile.broadcast %10 axis 0 : tensor<64xi32> -> tensor<1x64xi32>
      %12 = arith.index_cast %arg9 : index to i32
      %splat = tensor.splat %12 : tensor<1x64xi32>
      %13 = arith.addi %11, %splat : tensor<1x64xi32>
      %cst_3 = arith.constant dense<1000> : tensor<1x64xi32>
      %14 = arith.cmpi slt, %13, %cst_3 : tensor<1x64xi32>
      %cst_4 = arith.constant dense<-3.000000e+38> : tensor<1x64xf32>
      %15 = arith.select %14, %9, %cst_4 : tensor<1x64xi1>, tensor<1x64xf32>
      %16 = arith.cmpf olt, %arg10, %15 : tensor<1x64xf32>
      %17 = arith.select %16, %15, %arg10 : tensor<1x64xi1>, tensor<1x64xf32>
      %18 = arith.select %16, %13, %arg11 : tensor<1x64xi1>, tensor<1x64xi32>
      scf.yield %17, %18 : tensor<1x64xf32>, tensor<1x64xi32>
    }
    %2 = tile.reduce  max %1#0 axis 1 : tensor<1x64xf32> -> tensor<1xf32>
    %cst_1 = arith.constant dense<2147483647> : tensor<1x64xi32>
    %3 = tile.broadcast %2 axis 1 : tensor<1xf32> -> tensor<1x64xf32>
    %4 = arith.cmpf olt, %1#0, %3 : tensor<1x64xf32>
    %5 = arith.select %4, %cst_1, %1#1 : tensor<1x64xi1>, tensor<1x64xi32>
    %6 = tile.reduce  min %5 axis 1 : tensor<1x64xi32> -> tensor<1xi32>
    %7 = tile.read %arg2[%0] : <?xf32, meta, logit_rows> -> f32
    %cst_2 = arith.constant 0.000000e+00 : f32
    %8 = arith.cmpf olt, %cst_2, %7 : f32
    scf.if %8 {
      %cst_3 = arith.constant dense<1.000000e+00> : tensor<1xf32>
      %splat = tensor.splat %7 : tensor<1xf32>
      %9 = arith.divf %cst_3, %splat : tensor<1xf32>
      %cst_4 = arith.constant dense<-8.800000e+01> : tensor<1xf32>
      %10 = tile.load %arg3[%0] : <?xi32, meta, logit_rows> -> tensor<1xi32>
      %11 = tile.load %arg4[%0] : <?xf32, meta, logit_rows> -> tensor<1xf32>
      %12 = tile.load %arg5[%0] : <?xf32, meta, logit_rows> -> tensor<1xf32>
      %cst_5 = arith.constant dense<-3.000000e+38> : tensor<1xf32>
      %cst_6 = arith.constant dense<0> : tensor<1xi32>
      %13 = arith.cmpi slt, %cst_6, %10 : tensor<1xi32>
      %c0_7 = arith.constant 0 : index
      %extracted = tensor.extract %13[%c0_7] : tensor<1xi1>
      %14 = scf.if %extracted -> (tensor<1xf32>) {
        %33 = arith.sitofp %10 : tensor<1xi32> to tensor<1xf32>
        %c0_18 = arith.constant 0 : index
        %c32 = arith.constant 32 : index
        %cst_19 = arith.constant dense<0.000000e+00> : tensor<1xf32>
        %c1 = arith.constant 1 : index
        %34:2 = scf.for %arg9 = %c0_18 to %c32 step %c1 iter_args(%arg10 = %cst_4, %arg11 = %cst_19) -> (tensor<1xf32>, tensor<1xf32>) {
          %35 = arith.addf %arg10, %arg11 : tensor<1xf32>
          %cst_20 = arith.constant dense<5.000000e-01> : tensor<1xf32>
          %36 = arith.mulf %35, %cst_20 : tensor<1xf32>
          %cst_21 = arith.constant dense<0.000000e+00> : tensor<1x64xf32>
          %c64_22 = arith.constant 64 : index
          %37 = scf.for %arg12 = %c0 to %c1000 step %c64_22 iter_args(%arg13 = %cst_21) -> (tensor<1x64xf32>) {
            %43 = tile.load %arg0[%0, %arg12] : <?x1000xf32, activation, logit_rows> -> tensor<1x64xf32>
            %44 = tile.iota axis 0 : tensor<64xi32>
            %45 = tile.broadcast %44 axis 0 : tensor<64xi32> -> tensor<1x64xi32>
            %46 = arith.index_cast %arg12 : index to i32
            %splat_24 = tensor.splat %46 : tensor<1x64xi32>
            %47 = arith.addi %45, %splat_24 : tensor<1x64xi32>
            %cst_25 = arith.constant dense<1000> : tensor<1x64xi32>
            %48 = arith.cmpi slt, %47, %cst_25 : tensor<1x64xi32>
            %49 = tile.broadcast %2 axis 1 : tensor<1xf32> -> tensor<1x64xf32>
            %50 = arith.subf %43, %49 : tensor<1x64xf32>
            %51 = tile.broadcast %9 axis 1 : tensor<1xf32> -> tensor<1x64xf32>
            %52 = arith.mulf %50, %51 : tensor<1x64xf32>
            %53 = tile.broadcast %36 axis 1 : tensor<1xf32> -> tensor<1x64xf32>
            %54 = arith.cmpf olt, %52, %53 : tensor<1x64xf32>
            %cst_26 = arith.constant dense<true> : tensor<1x64xi1>
            %55 = arith.xori %54, %cst_26 : tensor<1x64xi1>
            %56 = arith.andi %48, %55 : tensor<1x64xi1>
            %cst_27 = arith.constant dense<1.000000e+00> : tensor<1x64xf32>
            %cst_28 = arith.constant dense<0.000000e+00> : tensor<1x64xf32>
            %57 = arith.select %56, %cst_27, %cst_28 : tensor<1x64xi1>, tensor<1x64xf32>
            %58 = arith.addf %arg13, %57 : tensor<1x64xf32>
            scf.yield %58 : tensor<1x64xf32>
          }
          %38 = tile.reduce  add %37 axis 1 : tensor<1x64xf32> -> tensor<1xf32>
          %39 = arith.cmpf olt, %38, %33 : tensor<1xf32>
          %cst_23 = arith.constant dense<true> : tensor<1xi1>
          %40 = arith.xori %39, %cst_23 : tensor<1xi1>
          %41 = arith.select %40, %36, %arg10 : tensor<1xi1>, tensor<1xf32>
          %42 = arith.select %40, %arg11, %36 : tensor<1xi1>, tensor<1xf32>
          scf.yield %41, %42 : tensor<1xf32>, tensor<1xf32>
        }
        scf.yield %34#0 : tensor<1xf32>
      } else {
        scf.yield %cst_5 : tensor<1xf32>
      }
      %cst_8 = arith.constant dense<1.000000e+00> : tensor<1xf32>
      %15 = arith.cmpf olt, %11, %cst_8 : tensor<1xf32>
      %c0_9 = arith.constant 0 : index
      %extracted_10 = tensor.extract %15[%c0_9] : tensor<1xi1>
      %16 = scf.if %extracted_10 -> (tensor<1xf32>) {
        %cst_18 = arith.constant dense<0.000000e+00> : tensor<1x64xf32>
        %c64_19 = arith.constant 64 : index
        %33 = scf.for %arg9 = %c0 to %c1000 step %c64_19 iter_args(%arg10 = %cst_18) -> (tensor<1x64xf32>) {
          %38 = tile.load %arg0[%0, %arg9] : <?x1000xf32, activation, logit_rows> -> tensor<1x64xf32>
          %39 = tile.iota axis 0 : tensor<64xi32>
          %40 = tile.broadcast %39 axis 0 : tensor<64xi32> -> tensor<1x64xi32>
          %41 = arith.index_cast %arg9 : index to i32
          %splat_22 = tensor.splat %41 : tensor<1x64xi32>
          %42 = arith.addi %40, %splat_22 : tensor<1x64xi32>
          %cst_23 = arith.constant dense<1000> : tensor<1x64xi32>
          %43 = arith.cmpi slt, %42, %cst_23 : tensor<1x64xi32>
          %44 = tile.broadcast %2 axis 1 : tensor<1xf32> -> tensor<1x64xf32>
          %45 = arith.subf %38, %44 : tensor<1x64xf32>
          %46 = tile.broadcast %9 axis 1 : tensor<1xf32> -> tensor<1x64xf32>
          %47 = arith.mulf %45, %46 : tensor<1x64xf32>
          %48 = tile.broadcast %14 axis 1 : tensor<1xf32> -> tensor<1x64xf32>
          %49 = arith.cmpf olt, %47, %48 : tensor<1x64xf32>
          %cst_24 = arith.constant dense<true> : tensor<1x64xi1>
          %50 = arith.xori %49, %cst_24 : tensor<1x64xi1>
          %51 = arith.andi %43, %50 : tensor<1x64xi1>
          %52 = math.exp %47 : tensor<1x64xf32>
          %cst_25 = arith.constant dense<0.000000e+00> : tensor<1x64xf32>
          %53 = arith.select %51, %52, %cst_25 : tensor<1x64xi1>, tensor<1x64xf32>
          %54 = arith.addf %arg10, %53 : tensor<1x64xf32>
          scf.yield %54 : tensor<1x64xf32>
        }
        %34 = tile.reduce  add %33 axis 1 : tensor<1x64xf32> -> tensor<1xf32>
        %35 = arith.mulf %11, %34 : tensor<1xf32>
        %36 = arith.maximumf %14, %cst_4 : tensor<1xf32>
        %c0_20 = arith.constant 0 : index
        %c32 = arith.constant 32 : index
        %cst_21 = arith.constant dense<0.000000e+00> : tensor<1xf32>
        %c1 = arith.constant 1 : index
        %37:2 = scf.for %arg9 = %c0_20 to %c32 step %c1 iter_args(%arg10 = %36, %arg11 = %cst_21) -> (tensor<1xf32>, tensor<1xf32>) {
          %38 = arith.addf %arg10, %arg11 : tensor<1xf32>
          %cst_22 = arith.constant dense<5.000000e-01> : tensor<1xf32>
          %39 = arith.mulf %38, %cst_22 : tensor<1xf32>
          %cst_23 = arith.constant dense<0.000000e+00> : tensor<1x64xf32>
          %c64_24 = arith.constant 64 : index
          %40 = scf.for %arg12 = %c0 to %c1000 step %c64_24 iter_args(%arg13 = %cst_23) -> (tensor<1x64xf32>) {
            %46 = tile.load %arg0[%0, %arg12] : <?x1000xf32, activation, logit_rows> -> tensor<1x64xf32>
            %47 = tile.iota axis 0 : tensor<64xi32>
            %48 = tile.broadcast %47 axis 0 : tensor<64xi32> -> tensor<1x64xi32>
            %49 = arith.index_cast %arg12 : index to i32
            %splat_26 = tensor.splat %49 : tensor<1x64xi32>
            %50 = arith.addi %48, %splat_26 : tensor<1x64xi32>
            %cst_27 = arith.constant dense<1000> : tensor<1x64xi32>
            %51 = arith.cmpi slt, %50, %cst_27 : tensor<1x64xi32>
            %52 = tile.broadcast %2 axis 1 : tensor<1xf32> -> tensor<1x64xf32>
            %53 = arith.subf %46, %52 : tensor<1x64xf32>
            %54 = tile.broadcast %9 axis 1 : tensor<1xf32> -> tensor<1x64xf32>
            %55 = arith.mulf %53, %54 : tensor<1x64xf32>
            %56 = tile.broadcast %39 axis 1 : tensor<1xf32> -> tensor<1x64xf32>
            %57 = arith.cmpf olt, %55, %56 : tensor<1x64xf32>
            %cst_28 = arith.constant dense<true> : tensor<1x64xi1>
            %58 = arith.xori %57, %cst_28 : tensor<1x64xi1>
            %59 = arith.andi %51, %58 : tensor<1x64xi1>
            %60 = math.exp %55 : tensor<1x64xf32>
            %cst_29 = arith.constant dense<0.000000e+00> : tensor<1x64xf32>
            %61 = arith.select %59, %60, %cst_29 : tensor<1x64xi1>, tensor<1x64xf32>
            %62 = arith.addf %arg13, %61 : tensor<1x64xf32>
            scf.yield %62 : tensor<1x64xf32>
          }
          %41 = tile.reduce  add %40 axis 1 : tensor<1x64xf32> -> tensor<1xf32>
          %42 = arith.cmpf olt, %41, %35 : tensor<1xf32>
          %cst_25 = arith.constant dense<true> : tensor<1xi1>
          %43 = arith.xori %42, %cst_25 : tensor<1xi1>
          %44 = arith.select %43, %39, %arg10 : tensor<1xi1>, tensor<1xf32>
          %45 = arith.select %43, %arg11, %39 : tensor<1xi1>, tensor<1xf32>
          scf.yield %44, %45 : tensor<1xf32>, tensor<1xf32>
        }
        scf.yield %37#0 : tensor<1xf32>
      } else {
        scf.yield %14 : tensor<1xf32>
      }
      %cst_11 = arith.constant dense<0.000000e+00> : tensor<1xf32>
      %17 = arith.cmpf olt, %cst_11, %12 : tensor<1xf32>
      %cst_12 = arith.constant dense<9.99999935E-39> : tensor<1xf32>
      %18 = arith.maximumf %12, %cst_12 : tensor<1xf32>
      %19 = math.log %18 : tensor<1xf32>
      %20 = arith.select %17, %19, %cst_5 : tensor<1xi1>, tensor<1xf32>
      %21 = arith.maximumf %16, %20 : tensor<1xf32>
      %22 = tile.load %arg6[%0] : <?xi32, meta, logit_rows> -> tensor<1xi32>
      %23 = tile.load %arg7[%0] : <?xi32, meta, logit_rows> -> tensor<1xi32>
      %24 = tile.gather %arg8[%23] : <?xi32, meta, tokens>, tensor<1xi32> -> tensor<1xi32>
      %cst_13 = arith.constant dense<16777619> : tensor<1xi32>
      %25 = arith.muli %22, %cst_13 : tensor<1xi32>
      %26 = arith.addi %25, %24 : tensor<1xi32>
      %cst_14 = arith.constant dense<-3.000000e+38> : tensor<1x64xf32>
      %cst_15 = arith.constant dense<0> : tensor<1x64xi32>
      %c64_16 = arith.constant 64 : index
      %27:2 = scf.for %arg9 = %c0 to %c1000 step %c64_16 iter_args(%arg10 = %cst_14, %arg11 = %cst_15) -> (tensor<1x64xf32>, tensor<1x64xi32>) {
        %33 = tile.load %arg0[%0, %arg9] : <?x1000xf32, activation, logit_rows> -> tensor<1x64xf32>
        %34 = tile.iota axis 0 : tensor<64xi32>
        %35 = tile.broadcast %34 axis 0 : tensor<64xi32> -> tensor<1x64xi32>
        %36 = arith.index_cast %arg9 : index to i32
        %splat_18 = tensor.splat %36 : tensor<1x64xi32>
        %37 = arith.addi %35, %splat_18 : tensor<1x64xi32>
        %cst_19 = arith.constant dense<1000> : tensor<1x64xi32>
        %38 = arith.cmpi slt, %37, %cst_19 : tensor<1x64xi32>
        %39 = tile.broadcast %2 axis 1 : tensor<1xf32> -> tensor<1x64xf32>
        %40 = arith.subf %33, %39 : tensor<1x64xf32>
        %41 = tile.broadcast %9 axis 1 : tensor<1xf32> -> tensor<1x64xf32>
        %42 = arith.mulf %40, %41 : tensor<1x64xf32>
        %43 = tile.broadcast %26 axis 1 : tensor<1xi32> -> tensor<1x64xi32>
        %cst_20 = arith.constant dense<-1640531527> : tensor<1x64xi32>
        %44 = arith.addi %37, %cst_20 : tensor<1x64xi32>
        %cst_21 = arith.constant dense<16> : tensor<1x64xi32>
        %45 = arith.shrui %44, %cst_21 : tensor<1x64xi32>
        %46 = arith.xori %44, %45 : tensor<1x64xi32>
        %cst_22 = arith.constant dense<-2048144789> : tensor<1x64xi32>
        %47 = arith.muli %46, %cst_22 : tensor<1x64xi32>
        %cst_23 = arith.constant dense<13> : tensor<1x64xi32>
        %48 = arith.shrui %47, %cst_23 : tensor<1x64xi32>
        %49 = arith.xori %47, %48 : tensor<1x64xi32>
        %cst_24 = arith.constant dense<-1028477387> : tensor<1x64xi32>
        %50 = arith.muli %49, %cst_24 : tensor<1x64xi32>
        %cst_25 = arith.constant dense<16> : tensor<1x64xi32>
        %51 = arith.shrui %50, %cst_25 : tensor<1x64xi32>
        %52 = arith.xori %50, %51 : tensor<1x64xi32>
        %53 = arith.addi %52, %43 : tensor<1x64xi32>
        %cst_26 = arith.constant dense<16> : tensor<1x64xi32>
        %54 = arith.shrui %53, %cst_26 : tensor<1x64xi32>
        %55 = arith.xori %53, %54 : tensor<1x64xi32>
        %cst_27 = arith.constant dense<-2048144789> : tensor<1x64xi32>
        %56 = arith.muli %55, %cst_27 : tensor<1x64xi32>
        %cst_28 = arith.constant dense<13> : tensor<1x64xi32>
        %57 = arith.shrui %56, %cst_28 : tensor<1x64xi32>
        %58 = arith.xori %56, %57 : tensor<1x64xi32>
        %cst_29 = arith.constant dense<-1028477387> : tensor<1x64xi32>
        %59 = arith.muli %58, %cst_29 : tensor<1x64xi32>
        %cst_30 = arith.constant dense<16> : tensor<1x64xi32>
        %60 = arith.shrui %59, %cst_30 : tensor<1x64xi32>
        %61 = arith.xori %59, %60 : tensor<1x64xi32>
        %cst_31 = arith.constant dense<9> : tensor<1x64xi32>
        %62 = arith.shrui %61, %cst_31 : tensor<1x64xi32>
        %63 = arith.sitofp %62 : tensor<1x64xi32> to tensor<1x64xf32>
        %cst_32 = arith.constant dense<5.000000e-01> : tensor<1x64xf32>
        %64 = arith.addf %63, %cst_32 : tensor<1x64xf32>
        %cst_33 = arith.constant dense<1.1920929E-7> : tensor<1x64xf32>
        %65 = arith.mulf %64, %cst_33 : tensor<1x64xf32>
        %66 = math.log %65 : tensor<1x64xf32>
        %67 = arith.negf %66 : tensor<1x64xf32>
        %68 = math.log %67 : tensor<1x64xf32>
        %69 = arith.negf %68 : tensor<1x64xf32>
        %70 = tile.broadcast %21 axis 1 : tensor<1xf32> -> tensor<1x64xf32>
        %71 = arith.cmpf olt, %42, %70 : tensor<1x64xf32>
        %cst_34 = arith.constant dense<true> : tensor<1x64xi1>
        %72 = arith.xori %71, %cst_34 : tensor<1x64xi1>
        %73 = arith.addf %42, %69 : tensor<1x64xf32>
        %cst_35 = arith.constant dense<-3.000000e+38> : tensor<1x64xf32>
        %74 = arith.select %72, %73, %cst_35 : tensor<1x64xi1>, tensor<1x64xf32>
        %cst_36 = arith.constant dense<-3.000000e+38> : tensor<1x64xf32>
        %75 = arith.select %38, %74, %cst_36 : tensor<1x64xi1>, tensor<1x64xf32>
        %76 = arith.cmpf olt, %arg10, %75 : tensor<1x64xf32>
        %77 = arith.select %76, %75, %arg10 : tensor<1x64xi1>, tensor<1x64xf32>
        %78 = arith.select %76, %37, %arg11 : tensor<1x64xi1>, tensor<1x64xi32>
        scf.yield %77, %78 : tensor<1x64xf32>, tensor<1x64xi32>
      }
      %28 = tile.reduce  max %27#0 axis 1 : tensor<1x64xf32> -> tensor<1xf32>
      %cst_17 = arith.constant dense<2147483647> : tensor<1x64xi32>
      %29 = tile.broadcast %28 axis 1 : tensor<1xf32> -> tensor<1x64xf32>
      %30 = arith.cmpf olt, %27#0, %29 : tensor<1x64xf32>
      %31 = arith.select %30, %cst_17, %27#1 : tensor<1x64xi1>, tensor<1x64xi32>
      %32 = tile.reduce  min %31 axis 1 : tensor<1x64xi32> -> tensor<1xi32>
      tile.store %32, %arg1[%0] : tensor<1xi32>, <?xi32, output, logit_rows>
    } else {
      tile.store %6, %arg1[%0] : tensor<1xi32>, <?xi32, output, logit_rows>
    }
  }
}

