// The gated loop over time, shared by all cells. A cell is a struct of constants and functions printed from its
// equation:
//
//     struct Cell {
//         static constexpr int X, E, L, FACTORS;    gates of x; early and late gates of u; what late ones multiply
//         static constexpr int S, P, KEPT;          state tensors, vectors, values kept for the way back
//         static constexpr bool SAME, NORMALIZED;   x and u have one gradient; U h is layer-normalised
//         static void forward(const V* x, const V* u, const V* s, const V* p, V* after, V* kept);
//         static void backward(const V* kept, const V* s, const V* p, const V* g, V* dx, V* du, V* ds, V* dp);
//         static void inner(const V* x, const V* u, const V* s, const V* p, V* factors, V* kept);
//         static void inner_backward(const V* kept, ..., as backward);
//     };
//
// The batch is packed by time: step t has count(t) rows that stand together, longest rows first, so that no time is
// spent on padding and memory is read in the order in which it lies. Inside, a row of H units has room for a whole
// number of vectors, Hp; lanes past H hold numbers that nobody reads, and zeros where a product would read them.
//
// For each block of sixteen units the product h U of all gates stays in registers, and the equation is applied to
// it there. Threads share the work by rows, without ever waiting, or by units, so that each keeps its part of U in
// its own cache, and meet once a step; see Meeting for what happens on a busy machine.
#pragma once
#include <stdlib.h>

#include "call.h"
#include "product.h"
#include "team.h"

template <class Cell>
struct Loop {
    static constexpr int X = Cell::X, E = Cell::E, L = Cell::L, G = E + L, S = Cell::S, P = Cell::P;
    static constexpr int FACTORS = Cell::FACTORS, KEPT = Cell::KEPT;
    static constexpr int LG = FACTORS ? L / FACTORS : 1;           // late gates of one factor
    static constexpr int NE = E == 1 ? 2 : 1, NL = LG == 1 ? 2 : 1;  // blocks of units that one product makes
    static constexpr bool STAGED = L > 0 || Cell::NORMALIZED;

    const Call& c;
    const int64_t H, blocks, Hp, fed_width, tile;
    const bool trains;
    Meeting meeting;
    float* raw = nullptr;   // (B, G, Hp): products between two stages, or gradients of normalised ones
    float* room = nullptr;  // (B, G, Hp): normalised products, in inference

    // Which tiles of rows and which blocks of units a thread works on, and with how many others it meets.
    struct Share {
        int64_t tile, every, from, to;
        int meets;
    };

    explicit Loop(const Call& call)
        : c(call), H(call.hidden), blocks((H + LANES - 1) / LANES), Hp(blocks * LANES),
          fed_width((FACTORS + (call.dropout ? 1 : 0)) * Hp), tile(call.batch >= 8 * call.threads ? 8 : 4),
          trains(call.trains), meeting{call.batch * G * H * H / (25 * (call.threads > 0 ? call.threads : 1))} {}

    int64_t count(int64_t t) const { return t < c.steps ? c.offsets[t + 1] - c.offsets[t] : 0; }
    int width(int64_t n) const { return static_cast<int>(H - n * LANES < LANES ? H - n * LANES : LANES); }

    // Packed rows while a gradient is wanted; else two steps take turns.
    int64_t slot(int64_t t, int64_t row) const { return row + (trains ? c.offsets[t] : (t & 1) * (c.batch + 8)); }
    float* before(int64_t t, int64_t row) const { return c.before + slot(t, row) * S * Hp; }
    float* fed(int64_t t, int64_t row, int which) const { return c.fed + slot(t, row) * fed_width + which * Hp; }
    float* raw_row(int64_t row) const { return raw + row * G * Hp; }
    float* product_row(int64_t t, int64_t row) const {
        if (!Cell::NORMALIZED) return raw_row(row);
        return trains ? c.normal + (c.offsets[t] + row) * G * Hp : room + row * G * Hp;
    }
    float* take_room() const {
        return STAGED ? static_cast<float*>(malloc(sizeof(float) * (c.batch + 8) * G * Hp)) : nullptr;
    }

    // By units a thread does its pairs of blocks for all rows, else all blocks for its own tiles.
    Share share(int index, int size, bool apart) const {
        if (apart || size == 1) return {index, size, 0, blocks, 1};
        const int64_t pairs = (blocks + 1) / 2, end = 2 * (pairs * (index + 1) / size);
        return {0, 1, 2 * (pairs * index / size), end < blocks ? end : blocks, size};
    }

    // f(share, step) for all steps, by a team that parts if its cores turn out to be busy.
    template <class F>
    void each_step(const F& f) {
        const bool alone = !c.by_units || Meeting::were_busy();
        together(static_cast<int>(c.threads), [&](int index, int size) {
            bool apart = alone;
            Share s = share(index, size, apart);
            for (int64_t step = 0; step < c.end - c.begin; step++) {
                if (!apart && meeting.parting) {
                    meeting.wait(s.meets);
                    apart = true;
                    s = share(index, size, apart);
                }
                f(s, step);
            }
        });
    }

    template <class F>
    void each_tile(const Share& s, int64_t t, const F& f) const {
        const int64_t rows = count(t);
        for (int64_t row = s.tile * tile; row < rows; row += s.every * tile)
            f(row, rows - row < tile ? rows - row : tile);
    }

    template <class F>
    void each_unit(const Share& s, int64_t t, const F& f) const {
        each_tile(s, t, [&](int64_t row, int64_t live) {
            for (int64_t r = row; r < row + live; r++)
                for (int64_t n = s.from; n < s.to; n++) f(r, n);
        });
    }

    // The product of one stage: `packed` holds COUNT gates; f(row, block, gates) takes what came out.
    template <int COUNT, int BLOCKS, class F>
    void stage(const Share& s, int64_t t, const float* rows, int64_t stride, const float* packed,
               const F& f) const {
        for (int64_t n = s.from; n < s.to; n += BLOCKS)
            each_tile(s, t, [&](int64_t row, int64_t live) {
                tiled(live, [&](auto size) {
                    constexpr int R = decltype(size)::value;
                    V sum[R * BLOCKS * COUNT];
                    const float* first = rows + row * stride;
                    products<R, BLOCKS * COUNT>([&](int r, int64_t k) { return first[r * stride + k]; },
                                                packed + n * H * COUNT * LANES, H, sum);
                    for (int r = 0; r < live; r++)
                        for (int j = 0; j < BLOCKS && n + j < s.to; j++)
                            f(row + r, n + j, sum + (r * BLOCKS + j) * COUNT);
                });
            });
    }

    // ---- forward

    static void forward(const Call& call) {
        Loop loop(call);
        loop.raw = loop.take_room();
        if (Cell::NORMALIZED && !loop.trains) loop.room = loop.take_room();
        if (call.begin == 0) loop.begin();
        loop.each_step([&](const Share& s, int64_t step) {
            const int64_t t = call.begin + step;
            if constexpr (STAGED) loop.staged_step(s, t);
            else loop.plain_step(s, t);
            if constexpr (G > 0) loop.meeting.wait(s.meets);
        });
        free(loop.raw);
        free(loop.room);
    }

    void begin() const {
        for (int64_t row = 0; row < c.batch; row++)
            UNROLL for (int i = 0; i < S; i++) {
                const int64_t place = (i * c.batch + c.order[row]) * H;
                const float* from = c.first + place;
                float* to = row < count(0) ? before(0, row) + i * Hp : c.last + place;
                if (to != from) __builtin_memcpy(to, from, sizeof(float) * H);
                if (i == 0 && c.dropout && row < count(0))
                    for (int64_t h = 0; h < H; h++) fed(0, row, FACTORS)[h] = from[h] * c.dropout[row * Hp + h];
            }
    }

    template <class F>
    void early_products(const Share& s, int64_t t, const F& f) const {
        if constexpr (E > 0) {
            if (c.dropout) stage<E, NE>(s, t, fed(t, 0, FACTORS), fed_width, c.early, f);
            else stage<E, NE>(s, t, before(t, 0), S * Hp, c.early, f);
        }
    }

    void plain_step(const Share& s, int64_t t) const {
        if constexpr (E > 0)
            early_products(s, t, [&](int64_t row, int64_t n, const V* u) { finish(t, row, n, u); });
        else each_unit(s, t, [&](int64_t row, int64_t n) { finish(t, row, n, nullptr); });
    }

    void staged_step(const Share& s, int64_t t) {
        early_products(s, t, [&](int64_t row, int64_t n, const V* u) {
            UNROLL for (int g = 0; g < E; g++) store(raw_row(row) + g * Hp + n * LANES, u[g]);
        });
        normalize<0, E>(s, t);
        if constexpr (L > 0) {
            each_unit(s, t, [&](int64_t row, int64_t n) { feed(t, row, n); });
            meeting.wait(s.meets);
            const int64_t packed = (blocks + NL - 1) / NL * NL * LG * H * LANES;
            for (int f = 0; f < FACTORS; f++)
                stage<LG, NL>(s, t, fed(t, 0, f), fed_width, c.late + f * packed,
                              [&](int64_t row, int64_t n, const V* u) {
                                  UNROLL for (int g = 0; g < LG; g++)
                                      store(raw_row(row) + (E + f * LG + g) * Hp + n * LANES, u[g]);
                              });
            normalize<E, G>(s, t);
        }
        each_unit(s, t, [&](int64_t row, int64_t n) {
            V u[G + 1];
            gates_of(t, row, n, G, u);
            finish(t, row, n, u);
        });
    }

    void gates_of(int64_t t, int64_t row, int64_t n, int gates, V* u) const {
        UNROLL for (int g = 0; g < gates; g++) {
            u[g] = load(product_row(t, row) + g * Hp + n * LANES);
            if (Cell::NORMALIZED) u[g] *= load(c.gains + g * Hp + n * LANES);
        }
    }

    // Each gate's units by themselves, as torch's layer_norm with its eps; the gain comes when they are read. Every
    // thread finds the statistics of all units, in one order, and normalises its own.
    template <int FROM, int TO>
    void normalize(const Share& s, int64_t t) {
        if constexpr (Cell::NORMALIZED && FROM < TO) {
            meeting.wait(s.meets);
            each_row(s, t, [&](int64_t row) {
                const float* u = raw_row(row);
                float mean[TO], scale[TO];
                means<FROM, TO>([&](int g, int64_t n) { return load(u + g * Hp + n * LANES); }, mean);
                means<FROM, TO>([&](int g, int64_t n) {
                    const V away = load(u + g * Hp + n * LANES) - mean[g];
                    return away * away;
                }, scale);
                UNROLL for (int g = FROM; g < TO; g++) {
                    scale[g] = 1.0f / __builtin_sqrtf(scale[g] + 1e-5f);
                    if (trains && s.from == 0) c.deviations[(c.offsets[t] + row) * G + g] = scale[g];
                }
                float* to = product_row(t, row);
                for (int64_t n = s.from; n < s.to; n++)
                    UNROLL for (int g = FROM; g < TO; g++) {
                        const int64_t at = g * Hp + n * LANES;
                        store(to + at, (load(u + at) - mean[g]) * scale[g]);
                    }
            });
        }
    }

    template <class F>
    void each_row(const Share& s, int64_t t, const F& f) const {
        each_tile(s, t, [&](int64_t row, int64_t live) {
            for (int64_t r = row; r < row + live; r++) f(r);
        });
    }

    // mean[g] = the mean of f(g, block) over the units, for several gates side by side.
    template <int FROM, int TO, class F>
    void means(const F& f, float* mean) const {
        V total[TO] = {};
        const int64_t last = blocks - 1;
        for (int64_t n = 0; n < last; n++)
            UNROLL for (int g = FROM; g < TO; g++) total[g] += f(g, n);
        UNROLL for (int g = FROM; g < TO; g++) mean[g] = sum(total[g] + only(f(g, last), width(last))) / H;
    }

    struct Unit {
        V x[X + 1], s[S], p[P + 1];
    };

    Unit unit(int64_t t, int64_t row, int64_t n) const {
        Unit here;
        UNROLL for (int i = 0; i < X; i++) here.x[i] = load(x_of(t, row, n) + i * LANES);
        if constexpr (Cell::NORMALIZED)
            UNROLL for (int i = 0; i < X; i++) {
                const int64_t at = (n * X + i) * LANES;
                here.x[i] = here.x[i] * load(c.x_gains + at) + load(c.x_shifts + at);
            }
        UNROLL for (int i = 0; i < S; i++) here.s[i] = load(before(t, row) + i * Hp + n * LANES);
        UNROLL for (int i = 0; i < P; i++) here.p[i] = load(c.vectors + i * Hp + n * LANES);
        return here;
    }

    // Of one unit block, its gates or kept values stand side by side.
    int64_t place(int64_t t, int64_t row, int64_t n, int width) const {
        return ((c.offsets[t] + row) * blocks + n) * width * LANES;
    }
    int64_t place_now(int64_t t, int64_t row, int64_t n, int width) const {
        return place(t, row, n, width) - c.offsets[c.begin] * blocks * width * LANES;
    }
    const float* x_of(int64_t t, int64_t row, int64_t n) const { return c.x + place_now(t, row, n, X); }
    float* kept(int64_t t, int64_t row, int64_t n) const { return c.kept + place(t, row, n, KEPT); }
    float* dx(int64_t t, int64_t row, int64_t n) const { return c.dx + place_now(t, row, n, X); }
    float* du(int64_t t, int64_t row, int64_t n) const { return c.du + place_now(t, row, n, E); }
    float* dlate(int64_t t, int64_t row, int64_t n, int factor) const {
        const int64_t rows = c.offsets[c.end] - c.offsets[c.begin] + 8;
        return c.dlate + factor * rows * blocks * LG * LANES + place_now(t, row, n, LG);
    }

    // What U multiplies for the late gates.
    void feed(int64_t t, int64_t row, int64_t n) const {
        if constexpr (L > 0) {
            const Unit here = unit(t, row, n);
            V u[G + 1], factors[FACTORS], keeps[KEPT + 1];
            gates_of(t, row, n, E, u);
            Cell::inner(here.x, u, here.s, here.p, factors, keeps);
            UNROLL for (int f = 0; f < FACTORS; f++) {
                if (c.dropout) factors[f] *= load(c.dropout + row * Hp + n * LANES);
                store(fed(t, row, f) + n * LANES, factors[f]);
            }
            if (trains)
                UNROLL for (int i = Cell::KEPT_FORWARD; i < KEPT; i++) store(kept(t, row, n) + i * LANES, keeps[i]);
        }
    }

    // Zoneout: how much of its old value a unit keeps.
    V share_kept(int i, int64_t packed, int64_t at) const {
        if (!c.keep) return splat(c.shares[i]);
        const uint8_t* from = c.keep + (i * c.places + c.index[packed]) * H + at;
        return __builtin_convertvector(*reinterpret_cast<const Bytes*>(from), V);
    }

    // The equation, and where its results go.
    void finish(int64_t t, int64_t row, int64_t n, const V* u) const {
        const int64_t at = n * LANES, packed = c.offsets[t] + row;
        const int lanes = width(n);
        if (t + 1 < c.end)
            UNROLL for (int i = 0; i < X; i++) __builtin_prefetch(x_of(t + 1, row, n) + i * LANES);
        const Unit here = unit(t, row, n);
        V after[S], keeps[KEPT + 1];
        Cell::forward(here.x, u, here.s, here.p, after, keeps);
        if (c.keep || c.shares)
            UNROLL for (int i = 0; i < S; i++) {
                const V keep = share_kept(i, packed, at);
                after[i] = keep * here.s[i] + (1.0f - keep) * after[i];
            }
        store(c.y + c.index[packed] * H + at, after[0], lanes);
        if (row < count(t + 1)) {
            UNROLL for (int i = 0; i < S; i++) store(before(t + 1, row) + i * Hp + at, after[i]);
            if (c.dropout) store(fed(t + 1, row, FACTORS) + at, after[0] * load(c.dropout + row * Hp + at));
        } else {
            UNROLL for (int i = 0; i < S; i++)
                store(c.last + (i * c.batch + c.order[row]) * H + at, after[i], lanes);
        }
        if (trains)
            UNROLL for (int i = 0; i < Cell::KEPT_FORWARD; i++) store(kept(t, row, n) + i * LANES, keeps[i]);
    }

    // ---- backward

    static void backward(const Call& call) {
        Loop loop(call);
        const int64_t size = sizeof(float) * call.hidden;
        if (Cell::NORMALIZED) loop.raw = loop.take_room();
        for (int64_t row = 0; row < call.batch; row++)
            UNROLL for (int i = 0; i < S; i++)
                __builtin_memcpy(loop.flow(i, row), loop.dstate(i, row), size);
        loop.each_step([&](const Share& s, int64_t step) { loop.step_back(s, call.end - 1 - step); });
        for (int64_t row = 0; row < call.batch; row++)
            UNROLL for (int i = 0; i < S; i++)
                __builtin_memcpy(loop.dstate(i, row), loop.flow(i, row), size);
        free(loop.raw);
    }

    float* dstate(int i, int64_t row) const { return c.dstate + (i * c.batch + c.order[row]) * H; }

    float* flow(int i, int64_t row) const { return c.flow + (i * c.batch + row) * Hp; }

    void step_back(const Share& s, int64_t t) {
        each_unit(s, t, [&](int64_t row, int64_t n) { unfinish(t, row, n); });
        if constexpr (L > 0) {
            unnormalize<E, G>(s, t);
            meeting.wait(s.meets);
            unfeed(s, t);
        }
        if constexpr (E > 0) {
            unnormalize<0, E>(s, t);
            meeting.wait(s.meets);
            stage_back<E>(s, t, du(t, 0, 0), c.early, [&](int64_t row, int64_t n, V sum) {
                if (c.dropout) sum *= load(c.dropout + row * Hp + n * LANES);
                add(flow(0, row) + n * LANES, sum);
            });
        }
    }

    static void add(float* to, V value) { store(to, load(to) + value); }

    // du U of some gates, for two blocks of units at a time.
    template <int GATES, class F>
    void stage_back(const Share& s, int64_t t, const float* rows, const float* packed, const F& f) const {
        const int64_t depth = GATES * Hp;
        for (int64_t n = s.from; n < s.to; n += 2)
            each_tile(s, t, [&](int64_t row, int64_t live) {
                tiled(live, [&](auto size) {
                    constexpr int R = decltype(size)::value;
                    V sum[R * 2];
                    const float* first = rows + row * depth;
                    const float* columns = packed + n * depth * LANES;
                    products<R, 2>([&](int r, int64_t k) { return first[r * depth + k]; }, columns, depth, sum);
                    for (int r = 0; r < live; r++)
                        for (int j = 0; j < 2 && n + j < s.to; j++) f(row + r, n + j, sum[r * 2 + j]);
                });
            });
    }

    void save_gradients(int64_t t, int64_t row, int64_t n, const V* dp) const {
        UNROLL for (int i = 0; i < P; i++) add(c.dvectors + (row / tile * P + i) * Hp + n * LANES, dp[i]);
    }

    // Where the gradient of a gate of u goes: what U is multiplied with, if normalised after one more stage.
    float* du_of(int64_t t, int64_t row, int64_t n, int g) const {
        return g < E ? du(t, row, n) + g * LANES : dlate(t, row, n, (g - E) / LG) + (g - E) % LG * LANES;
    }
    float* flow_of(int64_t t, int64_t row, int64_t n, int g) const {
        return Cell::NORMALIZED ? raw_row(row) + g * Hp + n * LANES : du_of(t, row, n, g);
    }

    void unfinish(int64_t t, int64_t row, int64_t n) const {
        const int64_t at = n * LANES, packed = c.offsets[t] + row;
        const int lanes = width(n);
        const bool zoneout = c.keep || c.shares;
        V keeps[KEPT + 1], s[S], p[P + 1], g[S], still[S] = {}, dx_[X + 1], du_[G + 1], ds[S], dp[P + 1];
        UNROLL for (int i = 0; i < Cell::KEPT_FORWARD; i++) keeps[i] = load(kept(t, row, n) + i * LANES);
        UNROLL for (int i = 0; i < P; i++) p[i] = load(c.vectors + i * Hp + at);
        UNROLL for (int i = 0; i < S; i++) {
            s[i] = load(before(t, row) + i * Hp + at);
            g[i] = load(flow(i, row) + at);
            if (i == 0) g[0] += load(c.dy + c.index[packed] * H + at, lanes);
            if (zoneout) {
                const V keep = share_kept(i, packed, at);
                still[i] = keep * g[i];
                g[i] = (1.0f - keep) * g[i];
            }
        }
        if (t) {
            const int64_t past = c.offsets[t - 1] + row;
            UNROLL for (int i = 0; i < Cell::KEPT_FORWARD; i++) __builtin_prefetch(kept(t - 1, row, n) + i * LANES);
            UNROLL for (int i = 0; i < S; i++) __builtin_prefetch(c.before + (past * S + i) * Hp + at);
            __builtin_prefetch(c.dy + c.index[past] * H + at);
        }
        Cell::backward(keeps, s, p, g, dx_, du_, ds, dp);
        UNROLL for (int i = 0; i < X; i++) store(dx(t, row, n) + i * LANES, only(dx_[i], lanes));
        if (!Cell::SAME || Cell::NORMALIZED)
            UNROLL for (int i = 0; i < G; i++) store(flow_of(t, row, n, i), only(du_[i], lanes));
        UNROLL for (int i = 0; i < S; i++) store(flow(i, row) + at, zoneout ? ds[i] + still[i] : ds[i]);
        save_gradients(t, row, n, dp);
    }

    // The second stage backward: the gradient of what U multiplied flows on into x, the early gates and the state.
    void unfeed(const Share& s, int64_t t) const {
        if constexpr (L > 0) {
            UNROLL for (int f = 0; f < FACTORS; f++)
                stage_back<LG>(s, t, dlate(t, 0, 0, f), c.late + f * ((blocks + 1) / 2 * 2) * LG * Hp * LANES,
                               [&](int64_t row, int64_t n, V sum) {
                                   if (c.dropout) sum *= load(c.dropout + row * Hp + n * LANES);
                                   store(c.dfed + (row * FACTORS + f) * Hp + n * LANES, sum);
                               });
            each_unit(s, t, [&](int64_t row, int64_t n) { unfeed_unit(t, row, n); });
        }
    }

    void unfeed_unit(int64_t t, int64_t row, int64_t n) const {
        if constexpr (L > 0) {
            const int64_t at = n * LANES;
            const int lanes = width(n);
            V keeps[KEPT + 1], s[S], p[P + 1], g[FACTORS], dx_[X + 1], du_[E + 1], ds[S], dp[P + 1];
            UNROLL for (int i = Cell::KEPT_FORWARD; i < KEPT; i++) keeps[i] = load(kept(t, row, n) + i * LANES);
            UNROLL for (int i = 0; i < P; i++) p[i] = load(c.vectors + i * Hp + at);
            UNROLL for (int i = 0; i < S; i++) s[i] = load(before(t, row) + i * Hp + at);
            UNROLL for (int f = 0; f < FACTORS; f++) g[f] = load(c.dfed + (row * FACTORS + f) * Hp + at);
            Cell::inner_backward(keeps, s, p, g, dx_, du_, ds, dp);
            UNROLL for (int i = 0; i < X; i++) add(dx(t, row, n) + i * LANES, only(dx_[i], lanes));
            UNROLL for (int i = 0; i < E; i++) add(flow_of(t, row, n, i), only(du_[i], lanes));
            UNROLL for (int i = 0; i < S; i++) add(flow(i, row) + at, ds[i]);
            save_gradients(t, row, n, dp);
        }
    }

    // From the gradient of a normalised, scaled product to that of the product itself.
    template <int FROM, int TO>
    void unnormalize(const Share& s, int64_t t) {
        if constexpr (Cell::NORMALIZED && FROM < TO) {
            meeting.wait(s.meets);
            each_row(s, t, [&](int64_t row) {
                const float *d = raw_row(row), *normal = product_row(t, row);
                const float* deviation = c.deviations + (c.offsets[t] + row) * G;
                float* dgain = c.dgains + row / tile * G * Hp;
                float mean[TO], slope[TO];
                const auto scaled = [&](int64_t at) { return load(d + at) * load(c.gains + at); };
                means<FROM, TO>([&](int g, int64_t n) { return scaled(g * Hp + n * LANES); }, mean);
                means<FROM, TO>([&](int g, int64_t n) {
                    const int64_t at = g * Hp + n * LANES;
                    return scaled(at) * load(normal + at);
                }, slope);
                for (int64_t n = s.from; n < s.to; n++)
                    UNROLL for (int g = FROM; g < TO; g++) {
                        const int64_t at = g * Hp + n * LANES;
                        const V v = load(normal + at);
                        add(dgain + at, only(load(d + at) * v, width(n)));
                        const V value = deviation[g] * (scaled(at) - mean[g] - v * slope[g]);
                        store(du_of(t, row, n, g), only(value, width(n)));
                    }
            });
        }
    }
};
