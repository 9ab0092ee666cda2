// The matrix product in registers, from which all others are made.
#pragma once
#include "math.h"

template <int N>
struct Constant {
    static constexpr int value = N;
};

// Loops with a constant number of turns, which must vanish for their arrays to stay in registers.
#define UNROLL _Pragma("GCC unroll 16")

// sum[r][c] = sum over k of a(r, k) * packed[k][c] for C of the `width` vectors that stand side by side in `packed`;
// in K interleaved parts, to hide the latency of a sum.
template <int R, int C, int K, class A>
static inline void product(const A& a, const float* packed, int width, int64_t depth, V* sum) {
    V part[K][R][C] = {};
    int64_t k = 0;
    for (; k + K <= depth; k += K)
        UNROLL for (int j = 0; j < K; j++) {
            V w[C];
            UNROLL for (int c = 0; c < C; c++) w[c] = load(packed + ((k + j) * width + c) * LANES);
            UNROLL for (int r = 0; r < R; r++) {
                const float factor = a(r, k + j);
                UNROLL for (int c = 0; c < C; c++) part[j][r][c] += w[c] * factor;
            }
        }
    if constexpr (K > 1)
        for (; k < depth; k++)
            UNROLL for (int c = 0; c < C; c++) {
                const V w = load(packed + (k * width + c) * LANES);
                UNROLL for (int r = 0; r < R; r++) part[0][r][c] += w * a(r, k);
            }
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int c = 0; c < C; c++) {
            UNROLL for (int j = 1; j < K; j++) part[0][r][c] += part[j][r][c];
            sum[r * width + c] = part[0][r][c];
        }
}

// All W columns, as many at a time as stay in registers beside R rows.
template <int R, int W, int FROM = 0, class A>
static inline void products(const A& a, const float* packed, int64_t depth, V* sum) {
    constexpr int REST = W - FROM, MOST = R == 8 ? 3 : 4;
    constexpr int C = REST == 4 && MOST == 3 ? 2 : REST < MOST ? REST : MOST;
    constexpr int K = R > 1 ? 1 : C == 1 ? 8 : C == 2 ? 4 : 2;
    product<R, C, K>(a, packed + FROM * LANES, W, depth, sum + FROM);
    if constexpr (REST > C) products<R, W, FROM + C>(a, packed, depth, sum);
}

// Calls f with 8, 4 or 1 as a constant: the rows of a tile that has `live` rows to compute.
template <class F>
static inline void tiled(int64_t live, const F& f) {
    if (live > 4) f(Constant<8>());
    else if (live > 1) f(Constant<4>());
    else f(Constant<1>());
}
