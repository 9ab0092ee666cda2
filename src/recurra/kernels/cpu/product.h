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

// Lanes of a, and of b from 16 on, by two compilers' names.
#ifdef __clang__
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, I{__VA_ARGS__})
#endif

template <int D>
static inline void exchange(V* v, int i, V first, V second) {
    v[i] = first;
    v[i + D] = second;
}

// Sixteen rows of sixteen become columns: blocks of 8, 4, 2 and 1 beside the diagonal change places.
static inline void transpose(V* v) {
    UNROLL for (int i = 0; i < 8; i++)
        exchange<8>(v, i, SHUFFLE(v[i], v[i + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
                    SHUFFLE(v[i], v[i + 8], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31));
    UNROLL for (int n = 0; n < 8; n++) {
        const int i = n / 4 * 8 + n % 4;
        exchange<4>(v, i, SHUFFLE(v[i], v[i + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),
                    SHUFFLE(v[i], v[i + 4], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31));
    }
    UNROLL for (int n = 0; n < 8; n++) {
        const int i = n / 2 * 4 + n % 2;
        exchange<2>(v, i, SHUFFLE(v[i], v[i + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
                    SHUFFLE(v[i], v[i + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31));
    }
    UNROLL for (int n = 0; n < 8; n++) {
        const int i = 2 * n;
        exchange<1>(v, i, SHUFFLE(v[i], v[i + 1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30),
                    SHUFFLE(v[i], v[i + 1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31));
    }
}

// Calls f with 8, 4 or 1 as a constant: the rows of a tile that has `live` rows to compute.
template <class F>
static inline void tiled(int64_t live, const F& f) {
    if (live > 4) f(Constant<8>());
    else if (live > 1) f(Constant<4>());
    else f(Constant<1>());
}
