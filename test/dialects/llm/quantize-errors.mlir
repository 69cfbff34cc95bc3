// RUN: inlay-opt %s --split-input-file --verify-diagnostics
// What the verifiers of llm.quantize, of products with its codes and of #llm.activations say.

func.func @codes(%x: tensor<?x8xbf16>) {
  // expected-error @+1 {{makes codes of u4, expected f8e4m3 or i8}}
  %c, %s = llm.quantize u4 %x : tensor<?x8xbf16> -> tensor<?x8xi8>, tensor<?x1xf32>
  return
}

// -----

func.func @type(%x: tensor<?x8xbf16>) {
  // expected-error @+1 {{makes 'tensor<?x8xi8>' of 'tensor<?x8xbf16>' as codes of f8e4m3}}
  %c, %s = llm.quantize f8e4m3 %x : tensor<?x8xbf16> -> tensor<?x8xi8>, tensor<?x1xf32>
  return
}

// -----

func.func @groups(%x: tensor<?x8xbf16>) {
  // expected-error @+1 {{has groups of 3 columns, which do not divide its 8}}
  %c, %s = llm.quantize i8 %x {group = 3 : i64} : tensor<?x8xbf16> -> tensor<?x8xi8>, tensor<?x2xf32>
  return
}

// -----

func.func @scales(%x: tensor<?x8xbf16>) {
  // expected-error @+1 {{has 2 scales a row, expected 1}}
  %c, %s = llm.quantize i8 %x : tensor<?x8xbf16> -> tensor<?x8xi8>, tensor<?x2xf32>
  return
}

// -----

llm.weight @given : tensor<1x1xf32> from ["given"]
func.func @two(%x: tensor<?x8xbf16>) {
  // expected-error @+1 {{has the scale 'given' for all rows and one for each 4 columns, expected one of them}}
  %c, %s = llm.quantize i8 %x scale @given {group = 4 : i64} : tensor<?x8xbf16> -> tensor<?x8xi8>, tensor<?x2xf32>
  return
}

// -----

llm.weight @given : tensor<1x1xbf16> from ["given"]
func.func @element(%x: tensor<?x8xbf16>) {
  // expected-error @+1 {{reads 'given' of 'tensor<1x1xbf16>', expected f32}}
  %c, %s = llm.quantize i8 %x scale @given : tensor<?x8xbf16> -> tensor<?x8xi8>, tensor<?x1xf32>
  return
}

// -----

llm.weight @s : tensor<4x1xf32> from ["s"]
llm.weight @w : tensor<4x8xi8> from ["w"] {quantized = #llm.quantized<i8, scales = @s, group = 8>}
func.func @without(%x: tensor<?x8xi8>) {
  // expected-error @+1 {{has 'tensor<?x8xi8>' without scales; codes have scales, floats have none}}
  %y = llm.linear %x, @w : (tensor<?x8xi8>) -> tensor<?x4xbf16>
  return
}

// -----

llm.weight @s : tensor<4x1xf32> from ["s"]
llm.weight @w : tensor<4x8xi8> from ["w"] {quantized = #llm.quantized<i8, scales = @s, group = 8>}
func.func @kinds(%x: tensor<?x8xf8E4M3FN>, %r: tensor<?x1xf32>) {
  // expected-error @+1 {{multiplies codes of 'f8E4M3FN' by 'w' of 'tensor<4x8xi8>'; expected codes of the same kind without zero points}}
  %y = llm.linear %x scales %r, @w : (tensor<?x8xf8E4M3FN>, tensor<?x1xf32>) -> tensor<?x4xbf16>
  return
}

// -----

// expected-error @+1 {{activations become codes of i8 or f8e4m3, found nf4}}
#a = #llm.activations<nf4>

// -----

// expected-error @+1 {{activations have the scale 'x' or one for each group, found both}}
#a = #llm.activations<i8, group = 128, scale = @x>

// -----

// expected-error @+1 {{activations are quantized or have the obstacle 'why', found both}}
llm.weight @w : tensor<8x64xi8> from ["w"] {quantized = #llm.quantized<i8, scales = @s, group = 64, activations = <i8>, activation_obstacle = "why">}

// -----

// expected-error @+1 {{activations of i8 are multiplied by codes of the same kind without zero points, found a weight of u4}}
llm.weight @w : tensor<8x64xi4> from ["w"] {quantized = #llm.quantized<u4, scales = @s, group = 32, activations = <i8>>}
