// The gated loop over time, shared by all cells. A cell is a struct of constants and two functions printed from its
// equation:
//
//     struct Cell {
//         static constexpr int G, S, P;     gates, state tensors, vectors
//         static constexpr bool SAME;       the gradients of x and of u are the same
//         static void forward(const V* x, const V* u, const V* s, const V* p, V* after);
//         static void backward(const V* x, const V* u, const V* s, const V* p, const V* g, V* dx, V* du, V* ds, V* dp);
//     };
//
// Rows of the batch are independent, so threads take rows and never wait for each other. A tile of R rows goes
// through all of its time steps: for each block of sixteen units the product h U of all gates stays in registers,
// and the equation is applied to it there.
#pragma once
#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "math.h"

struct Call {
    int64_t batch, time, hidden, threads;
    const float* x;         // (B, T, G, H): W x + b
    const float* weights;   // U packed for forward or for backward
    const float* vectors;   // (P, H)
    const float* dropout;   // (B, H) or null
    const float* keep;      // (S, B, T, H) or null
    const int64_t* lengths; // (B,), longest first
    const float* first;     // (S, B, H)
    float* y;               // (B, T, H)
    float* states;          // (S - 1, B, T, H): the states after each step, without h; may be null in inference
    float* products;        // (B, T, G, H): U h, for backward; null in inference
    float* last;            // (S, B, H)
    const float* dy;        // (B, T, H)
    float* dx;              // (B, T, G, H)
    float* du;              // (B, T, G, H); unused if SAME
    float* dstate;          // (S, B, H): gradient of the last state in, of the first state out
    float* dvectors;        // (threads, P, H), zero at first
};

static inline int lanes(int64_t hidden, int64_t block) {
    return static_cast<int>(std::min<int64_t>(LANES, hidden - block * LANES));
}

// sum[r][c] = sum over k of rows[r][k] * packed[k][c] for C of the `width` vectors that stand side by side in
// `packed`; in K interleaved parts, to hide the latency of a sum.
template <int R, int C, int K>
static inline void product(const float* rows, int64_t stride, const float* packed, int width, int64_t depth, V* sum) {
    V part[K][R][C] = {};
    int64_t k = 0;
    for (; k + K <= depth; k += K)
        for (int j = 0; j < K; j++)
            for (int c = 0; c < C; c++) {
                V w = load(packed + ((k + j) * width + c) * LANES);
                for (int r = 0; r < R; r++) part[j][r][c] += w * rows[r * stride + k + j];
            }
    for (; k < depth; k++)
        for (int c = 0; c < C; c++) {
            V w = load(packed + (k * width + c) * LANES);
            for (int r = 0; r < R; r++) part[0][r][c] += w * rows[r * stride + k];
        }
    for (int r = 0; r < R; r++)
        for (int c = 0; c < C; c++) {
            for (int j = 1; j < K; j++) part[0][r][c] += part[j][r][c];
            sum[r * width + c] = part[0][r][c];
        }
}

// All W columns, as many at a time as stay in registers beside R rows.
template <int R, int W, int K, int FROM = 0>
static inline void products(const float* rows, int64_t stride, const float* packed, int64_t depth, V* sum) {
    constexpr int REST = W - FROM;
    constexpr int C = REST == 4 || REST == 2 ? 2 : REST > 3 ? 3 : REST;
    product<R, C, K>(rows, stride, packed + FROM * LANES, W, depth, sum + FROM);
    if constexpr (REST > C) products<R, W, K, FROM + C>(rows, stride, packed, depth, sum);
}

template <class Cell>
struct Loop {
    static constexpr int G = Cell::G, S = Cell::S, P = Cell::P;
    static constexpr int BACK = 4;  // blocks of units that one backward product makes at once

    template <int R>
    static void forward_tile(const Call& c, int64_t row) {
        constexpr int K = R == 1 ? 4 : R == 2 ? 2 : 1;
        const int64_t H = c.hidden, T = c.time, blocks = (H + LANES - 1) / LANES, padded = blocks * LANES;
        std::vector<float> memory((2 * S + 1) * R * padded, 0.0f);
        float* now = memory.data();
        float* next = now + S * R * padded;
        float* fed = next + S * R * padded;  // what U multiplies: h, or h with dropout
        for (int s = 0; s < S; s++)
            for (int r = 0; r < R; r++)
                std::memcpy(now + (s * R + r) * padded, c.first + ((s * c.batch) + row + r) * H, sizeof(float) * H);
        const int64_t end = c.lengths[row];
        for (int64_t t = 0; t < end; t++) {
            const float* input = now;
            if (c.dropout) {
                for (int r = 0; r < R; r++)
                    for (int64_t h = 0; h < H; h++) fed[r * padded + h] = now[r * padded + h] * c.dropout[(row + r) * H + h];
                input = fed;
            }
            for (int64_t n = 0; n < blocks; n++) {
                V sum[R * G];
                products<R, G, K>(input, padded, c.weights + n * H * G * LANES, H, sum);
                for (int r = 0; r < R; r++) forward_unit<R>(c, row + r, r, t, n, padded, now, next, sum + r * G);
            }
            std::swap(now, next);
        }
        for (int s = 0; s < S; s++)
            for (int r = 0; r < R; r++)
                std::memcpy(c.last + ((s * c.batch) + row + r) * H, now + (s * R + r) * padded, sizeof(float) * H);
    }

    template <int R>
    static inline void forward_unit(const Call& c, int64_t row, int r, int64_t t, int64_t n, int64_t padded,
                                    const float* now, float* next, const V* sum) {
        const int64_t H = c.hidden, at = n * LANES;
        const int count = lanes(H, n);
        V x[G], before[S], p[P + 1], after[S];
        for (int s = 0; s < S; s++) before[s] = load(now + (s * R + r) * padded + at);
        if (t >= c.lengths[row]) {
            for (int s = 0; s < S; s++) store(next + (s * R + r) * padded + at, before[s]);
            return;
        }
        const int64_t step = row * c.time + t;
        for (int g = 0; g < G; g++) x[g] = load(c.x + (step * G + g) * H + at, count);
        for (int i = 0; i < P; i++) p[i] = load(c.vectors + i * H + at, count);
        Cell::forward(x, sum, before, p, after);
        for (int s = 0; s < S; s++) {
            if (c.keep) {
                V keep = load(c.keep + ((s * c.batch + row) * c.time + t) * H + at, count);
                after[s] = keep * before[s] + (1.0f - keep) * after[s];
            }
            store(next + (s * R + r) * padded + at, after[s]);
            if (s == 0) store(c.y + step * H + at, after[0], count);
            else if (c.states) store(c.states + (((s - 1) * c.batch + row) * c.time + t) * H + at, after[s], count);
        }
        if (c.products)
            for (int g = 0; g < G; g++) store(c.products + (step * G + g) * H + at, sum[g], count);
    }

    template <int R>
    static void backward_tile(const Call& c, int64_t row, float* dvectors) {
        constexpr int K = R == 1 ? 2 : 1;
        const int64_t H = c.hidden, blocks = (H + LANES - 1) / LANES, padded = blocks * LANES, depth = G * H;
        const int64_t groups = (blocks + BACK - 1) / BACK;
        std::vector<float> memory(S * R * padded + R * depth, 0.0f);
        float* flow = memory.data();  // gradient of the state after the step
        float* du = flow + S * R * padded;
        for (int s = 0; s < S; s++)
            for (int r = 0; r < R; r++)
                std::memcpy(flow + (s * R + r) * padded, c.dstate + (s * c.batch + row + r) * H, sizeof(float) * H);
        for (int64_t t = c.lengths[row] - 1; t >= 0; t--) {
            for (int r = 0; r < R; r++)
                for (int64_t n = 0; n < blocks; n++)
                    backward_unit<R>(c, row + r, r, t, n, padded, flow, du + r * depth, dvectors);
            for (int64_t m = 0; m < groups; m++) {
                V sum[R * BACK];
                products<R, BACK, K>(du, depth, c.weights + m * depth * BACK * LANES, depth, sum);
                for (int r = 0; r < R; r++)
                    for (int j = 0; j < BACK && m * BACK + j < blocks; j++) {
                        const int64_t at = (m * BACK + j) * LANES;
                        V& more = sum[r * BACK + j];
                        if (c.dropout) more *= load(c.dropout + (row + r) * H + at, lanes(H, m * BACK + j));
                        store(flow + r * padded + at, load(flow + r * padded + at) + more);
                    }
            }
        }
        for (int s = 0; s < S; s++)
            for (int r = 0; r < R; r++)
                std::memcpy(c.dstate + (s * c.batch + row + r) * H, flow + (s * R + r) * padded, sizeof(float) * H);
    }

    // Past the end of a row its gradient waits, and nothing flows into the product.
    template <int R>
    static inline void backward_unit(const Call& c, int64_t row, int r, int64_t t, int64_t n, int64_t padded,
                                     float* flow, float* du_row, float* dvectors) {
        const int64_t H = c.hidden, at = n * LANES, step = row * c.time + t;
        const int count = lanes(H, n);
        if (t >= c.lengths[row]) {
            for (int g = 0; g < G; g++) store(du_row + g * H + at, V{}, count);
            return;
        }
        V x[G], u[G], s[S], p[P + 1], g[S], kept[S], dx[G], du[G], ds[S], dp[P + 1];
        for (int i = 0; i < G; i++) {
            x[i] = load(c.x + (step * G + i) * H + at, count);
            u[i] = load(c.products + (step * G + i) * H + at, count);
        }
        for (int i = 0; i < P; i++) p[i] = load(c.vectors + i * H + at, count);
        for (int i = 0; i < S; i++) {
            const float* past = i == 0 ? c.y + step * H : c.states + (((i - 1) * c.batch + row) * c.time + t) * H;
            s[i] = t ? load(past - H + at, count) : load(c.first + (i * c.batch + row) * H + at, count);
            g[i] = load(flow + (i * R + r) * padded + at);
            if (i == 0) g[0] += load(c.dy + step * H + at, count);
            if (c.keep) {
                V keep = load(c.keep + ((i * c.batch + row) * c.time + t) * H + at, count);
                kept[i] = keep * g[i];
                g[i] = (1.0f - keep) * g[i];
            }
        }
        Cell::backward(x, u, s, p, g, dx, du, ds, dp);
        for (int i = 0; i < G; i++) {
            store(c.dx + (step * G + i) * H + at, dx[i], count);
            if (!Cell::SAME) store(c.du + (step * G + i) * H + at, du[i], count);
            store(du_row + i * H + at, du[i], count);
        }
        for (int i = 0; i < S; i++) store(flow + (i * R + r) * padded + at, c.keep ? ds[i] + kept[i] : ds[i]);
        for (int i = 0; i < P; i++) {
            float* total = dvectors + i * H + at;
            store(total, load(total, count) + dp[i], count);
        }
    }

    // Threads take tiles from the longest rows on; which thread takes which tile is fixed, so sums repeat bit for bit.
    template <int R, class Tile>
    static void rows(const Call& c, Tile tile) {
        const int64_t whole = c.batch / R;
        const int64_t threads = std::max<int64_t>(1, std::min(c.threads, whole + c.batch % R));
        auto work = [&](int64_t mine) {
            for (int64_t i = mine; i < whole + c.batch % R; i += threads) {
                if (i < whole) tile(std::integral_constant<int, R>(), i * R, mine);
                else tile(std::integral_constant<int, 1>(), whole * R + (i - whole), mine);
            }
        };
        std::vector<std::thread> others;
        for (int64_t i = 1; i < threads; i++) others.emplace_back(work, i);
        work(0);
        for (auto& other : others) other.join();
    }

    static constexpr int TILE = 8;

    template <class Tile>
    static void spread(const Call& c, Tile tile) {
        if (c.batch >= TILE * c.threads) rows<TILE>(c, tile);
        else if (c.batch >= 2 * c.threads) rows<2>(c, tile);
        else rows<1>(c, tile);
    }

    static void forward(const Call& c) {
        spread(c, [&](auto size, int64_t row, int64_t) { forward_tile<decltype(size)::value>(c, row); });
    }

    static void backward(const Call& c) {
        spread(c, [&](auto size, int64_t row, int64_t thread) {
            backward_tile<decltype(size)::value>(c, row, c.dvectors + thread * P * c.hidden);
        });
    }
};
