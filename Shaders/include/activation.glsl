// Element-wise functions, numbered as `Activation.kernelCode` has them on the host.
#define ACTIVATION_NONE 0
#define ACTIVATION_SILU 1
#define ACTIVATION_GELU 2
#define ACTIVATION_QUICK_GELU 3
#define ACTIVATION_RELU 4
#define ACTIVATION_TANH 5

// erf with an absolute error below 2e-7 in fp32: below 1 the Maclaurin series (DLMF 7.6.1) to the term in x^19, above it
// 1 - exp(-x^2)·P(1/(1 + x/2)), the form of Abramowitz and Stegun 7.1.26, with P fitted to erfc(x)·exp(x^2) at 400
// Chebyshev nodes of [1, 5] (the fit's own error there is below 2e-10).
float errorFunction(float x) {
    float size = abs(x);
    if (size < 1.0) {
        float square = x * x;
        float sum = -1.0 / 6894720.0;
        sum = sum * square + 1.0 / 685440.0;
        sum = sum * square - 1.0 / 75600.0;
        sum = sum * square + 1.0 / 9360.0;
        sum = sum * square - 1.0 / 1320.0;
        sum = sum * square + 1.0 / 216.0;
        sum = sum * square - 1.0 / 42.0;
        sum = sum * square + 1.0 / 10.0;
        sum = sum * square - 1.0 / 3.0;
        sum = sum * square + 1.0;
        return 1.1283791670955126 * x * sum;
    }
    float t = 1.0 / (1.0 + 0.5 * size);
    float sum = -0.22984017431735992;
    sum = sum * t + 0.6339655518531799;
    sum = sum * t - 0.061412498354911804;
    sum = sum * t + 0.395100861787796;
    sum = sum * t + 0.2601723372936249;
    sum = sum * t + 0.0017705163918435574;
    return sign(x) * (1.0 - exp(-size * size) * sum);
}

float sigmoid(float x) { return 1.0 / (1.0 + exp(-x)); }

float gelu(float x) { return 0.5 * x * (1.0 + errorFunction(x * 0.7071067811865476)); }

// Of the exponential alone, whose error Vulkan bounds; below 1/4, where that would cancel, Taylor's polynomial of degree 7,
// whose first omitted term is 62/2835 x^9 < 4e-7 |x|.
float hyperbolicTangent(float x) {
    float size = abs(x);
    float square = x * x;
    if (size < 0.25) return x * (((-17.0 / 315.0 * square + 2.0 / 15.0) * square - 1.0 / 3.0) * square + 1.0);
    float power = exp(-2.0 * size);
    return sign(x) * (1.0 - power) / (1.0 + power);
}

// `function` is a specialization constant, so that one branch is left.
float activate(uint function, float x) {
    if (function == ACTIVATION_SILU) return x * sigmoid(x);
    if (function == ACTIVATION_GELU) return gelu(x);
    if (function == ACTIVATION_QUICK_GELU) return x * sigmoid(1.702 * x);
    if (function == ACTIVATION_RELU) return max(x, 0.0);
    if (function == ACTIVATION_TANH) return hyperbolicTangent(x);
    return x;
}
