// Elementwise functions on vectors of sixteen floats, by GCC's vector extensions: AVX-512, two AVX2 or four NEON
// registers, as the compiler sees fit. Polynomials were fitted by reweighted least squares; largest errors relative
// to float64, measured by tests/kernels/test_fused.py: exp 2 ulp, tanh, sigmoid and log 4 ulp (1 ulp = 6e-8).
#pragma once
#include <stdint.h>

constexpr int LANES = 16;
typedef float V __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t I __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint8_t Bytes __attribute__((vector_size(LANES), aligned(1), may_alias));

static inline V splat(float value) { return value - V{}; }
static inline V load(const float* from) { return *reinterpret_cast<const V*>(from); }
static inline void store(float* to, V value) { *reinterpret_cast<V*>(to) = value; }

// The first `count` floats; the other lanes are zero. Kernels never read or write past the end of a caller's row.
static inline V load(const float* from, int count) {
    if (count == LANES) return load(from);
    V value = {};
    __builtin_memcpy(&value, from, sizeof(float) * count);
    return value;
}
static inline void store(float* to, V value, int count) {
    if (count == LANES) store(to, value);
    else __builtin_memcpy(to, &value, sizeof(float) * count);
}

static inline V as_float(I bits) { V value; __builtin_memcpy(&value, &bits, sizeof value); return value; }
static inline I as_bits(V value) { I bits; __builtin_memcpy(&bits, &value, sizeof bits); return bits; }
static inline V choose(I mask, V yes, V no) { return as_float((mask & as_bits(yes)) | (~mask & as_bits(no))); }

// The first `count` lanes of a value, zero in the others.
static inline V only(V value, int count) {
    if (count == LANES) return value;
    V kept = {};
    __builtin_memcpy(&kept, &value, sizeof(float) * count);
    return kept;
}

// The sum of all lanes, by halves.
typedef float Half __attribute__((vector_size(32), aligned(4), may_alias));
typedef float Quarter __attribute__((vector_size(16), aligned(4), may_alias));
static inline float sum(V v) {
    Half halves[2];
    Quarter quarters[2];
    __builtin_memcpy(halves, &v, sizeof v);
    const Half half = halves[0] + halves[1];
    __builtin_memcpy(quarters, &half, sizeof half);
    const Quarter quarter = quarters[0] + quarters[1];
    return (quarter[0] + quarter[2]) + (quarter[1] + quarter[3]);
}

// NaN passes through: a comparison with NaN is false, so the second argument, which may be NaN, is taken.
static inline V maximum(V a, V b) { V larger = choose(a > b, a, b); return choose(a != a, a, larger); }
static inline V minimum(V a, V b) { V smaller = choose(a < b, a, b); return choose(a != a, a, smaller); }
static inline V absolute(V x) { return as_float(as_bits(x) & 0x7fffffff); }
static inline V signum(V x) { return choose(x > 0.0f, splat(1), choose(x < 0.0f, splat(-1), x)); }

// Four operations that AVX-512 has instructions for (written as such: the header of its intrinsics takes a fifth of
// a second to compile). NaN stays NaN in `between`.
#ifdef __AVX512F__
static inline V between(V x, float low, float high) {
    V value;
    asm("vmaxps %1, %2, %0" : "=v"(value) : "v"(x), "v"(splat(low)));
    asm("vminps %1, %2, %0" : "=v"(value) : "v"(value), "v"(splat(high)));
    return value;
}
static inline V rounded(V x) {
    V value;
    asm("vrndscaleps $8, %1, %0" : "=v"(value) : "v"(x));
    return value;
}
static inline V times_two_to(V x, V n) {
    V value;
    asm("vscalefps %2, %1, %0" : "=v"(value) : "v"(x), "v"(n));
    return value;
}
// One Newton step from 14 bits. Only for d from 1 to about 1e38, which is what the functions below divide by.
static inline V reciprocal(V d) {
    V r;
    asm("vrcp14ps %1, %0" : "=v"(r) : "v"(d));
    return r + r * (1.0f - d * r);
}
#else
static inline V between(V x, float low, float high) {
    return choose(x > high, splat(high), choose(x < low, splat(low), x));
}
static inline V rounded(V x) { return (x + 12582912.0f) - 12582912.0f; }  // 1.5 * 2^23 leaves no bits for a fraction
static inline V times_two_to(V x, V n) { return x * as_float((__builtin_convertvector(n, I) + 127) << 23); }
static inline V reciprocal(V d) { return 1.0f / d; }
#endif

// e^x = 2^n e^r with n = round(x / ln 2); r in +-ln(2)/2; e^r = 1 + r + r^2 p(r); x in -87.3 .. 88.37 or NaN.
static inline V bounded_exponential(V x) {
    V n = rounded(x * 1.44269504f);
    V r = x - n * 0.693359375f + n * 2.12194440e-4f;
    V p = splat(1.390128529e-03f);
    p = p * r + 8.363200019e-03f;
    p = p * r + 4.166685439e-02f;
    p = p * r + 1.666657696e-01f;
    p = p * r + 4.999999955e-01f;
    return times_two_to(p * (r * r) + (r + 1.0f), n);
}

// Infinite from 88.38 on, where 2^n would need two factors; float32 itself ends at 88.72.
static inline V exponential(V x) {
    V value = bounded_exponential(between(x, -87.3f, 88.376f));
    value = choose(x > 88.376f, splat(__builtin_inff()), value);
    return choose(x < -87.3f, splat(0), value);
}

static inline V sigmoid(V x) { return reciprocal(1.0f + bounded_exponential(between(-x, -87.3f, 88.37f))); }

// Near 0 an odd polynomial, else 1 - 2 / (e^2|x| + 1) with the sign of x.
static inline V hyperbolic_tangent(V x) {
    V z = x * x;
    V p = splat(-6.053333468e-03f);
    p = p * z + 2.096696990e-02f;
    p = p * z - 5.384443886e-02f;
    p = p * z + 1.333272610e-01f;
    p = p * z - 3.333332847e-01f;
    V far = 1.0f - 2.0f * reciprocal(bounded_exponential(between(2.0f * absolute(x), 0.0f, 88.37f)) + 1.0f);
    far = as_float(as_bits(far) | (as_bits(x) & static_cast<int32_t>(0x80000000)));
    return choose(absolute(x) < 0.625f, p * z * x + x, far);
}

// log(2^n m) = n ln 2 + log(m), m in sqrt(1/2) .. sqrt(2).
static inline V logarithm(V x) {
    I bits = as_bits(x);
    I n = ((bits - 0x3f3504f3) >> 23);
    V m = as_float(bits - (n << 23)) - 1.0f;
    V whole = __builtin_convertvector(n, V);
    V p = splat(7.037099960e-02f);
    p = p * m - 1.151431692e-01f;
    p = p * m + 1.167708020e-01f;
    p = p * m - 1.242018807e-01f;
    p = p * m + 1.424931947e-01f;
    p = p * m - 1.666805546e-01f;
    p = p * m + 2.000071481e-01f;
    p = p * m - 2.499999402e-01f;
    p = p * m + 3.333333117e-01f;
    V value = p * m * m * m - 0.5f * m * m + m + whole * 0.693147181f;
    value = choose(x == 0.0f, splat(-__builtin_inff()), value);
    value = choose(x < 0.0f, splat(__builtin_nanf("")), value);
    return choose((x != x) | (x == __builtin_inff()), x, value);
}

static inline V square_root(V x) {
    V value;
    for (int i = 0; i < LANES; i++) value[i] = __builtin_sqrtf(x[i]);
    return value;
}
