// What logarithms of probabilities need of vectors: the larger of two, the largest lane, which lanes count.
#pragma once
#include "math.h"

constexpr float NEVER = -__builtin_inff();

typedef int32_t HalfBits __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t QuarterBits __attribute__((vector_size(16), aligned(4), may_alias));

// The larger of two, or the second where one is NaN.
static inline V larger(V a, V b) {
#ifdef __AVX512F__
    V value;
    asm("vmaxps %2, %1, %0" : "=v"(value) : "v"(a), "v"(b));
    return value;
#else
    return choose(a > b, a, b);
#endif
}

// The largest lane, leaving NaN aside where there is anything else.
static inline float largest(V v) {
    Half halves[2];
    Quarter quarters[2];
    __builtin_memcpy(halves, &v, sizeof v);
    const HalfBits first = halves[0] > halves[1];
    const Half half = (Half)((first & (HalfBits)halves[0]) | (~first & (HalfBits)halves[1]));
    __builtin_memcpy(quarters, &half, sizeof half);
    const QuarterBits second = quarters[0] > quarters[1];
    const Quarter quarter = (Quarter)((second & (QuarterBits)quarters[0]) | (~second & (QuarterBits)quarters[1]));
    const float a = quarter[0] > quarter[2] ? quarter[0] : quarter[2], b = quarter[1] > quarter[3] ? quarter[1] : quarter[3];
    return a > b ? a : b;
}

static inline bool any(I mask) {
    int64_t words[8];
    __builtin_memcpy(words, &mask, sizeof mask);
    return words[0] | words[1] | words[2] | words[3] | words[4] | words[5] | words[6] | words[7];
}

// Where nothing is allowed there is nothing to take away.
static inline float finite(float top) { return top == NEVER ? 0 : top; }

static inline I counted(int count) {
    const I lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return lane < count;
}
