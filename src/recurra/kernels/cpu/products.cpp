// The two products over all time steps: rows times packed weights, and the gradient of weights. They are the same
// for every cell, so they are compiled once.
#include <stdlib.h>

#include "product.h"
#include "team.h"

constexpr int PAIR = 2 * LANES;  // columns that one product makes

struct Times {
    int64_t rows, depth, columns, threads, a_stride, out_stride;
    const float* a;        // row n begins at a + (from ? from[n] : n) * a_stride
    const int64_t* from;
    const float* packed;   // (pairs, depth, 32)
    const float* bias;     // (pairs * 32,) or null
    float* out;            // row n begins at out + (to ? to[n] : n) * out_stride
    const int64_t* to;
};

static int64_t blocks_of(int64_t hidden) { return (hidden + LANES - 1) / LANES; }
static int lanes(int64_t rest) { return rest >= LANES ? LANES : rest > 0 ? static_cast<int>(rest) : 0; }

template <int R>
static void times_tile(const Times& t, int64_t row, int64_t live, int64_t pair) {
    const float* rows[R];
    for (int r = 0; r < R; r++) {
        const int64_t n = row + (r < live ? r : live - 1);
        rows[r] = t.a + (t.from ? t.from[n] : n) * t.a_stride;
    }
    V sum[R * 2];
    products<R, 2>([&](int r, int64_t k) { return rows[r][k]; }, t.packed + pair * t.depth * PAIR, t.depth, sum);
    for (int r = 0; r < live; r++) {
        float* to = t.out + (t.to ? t.to[row + r] : row + r) * t.out_stride;
        for (int c = 0; c < 2; c++) {
            const int64_t column = pair * PAIR + c * LANES;
            const int count = lanes(t.columns - column);
            if (!count) break;
            V value = sum[r * 2 + c];
            if (t.bias) value += load(t.bias + column);
            store(to + column, value, count);
        }
    }
}

// out = a packed + bias. A chunk of 64 rows goes through all columns, so that they stay in the cache.
extern "C" void times(const Times* call) {
    const Times& t = *call;
    constexpr int64_t CHUNK = 64;
    const int64_t chunks = (t.rows + CHUNK - 1) / CHUNK, pairs = (t.columns + PAIR - 1) / PAIR;
    together(static_cast<int>(t.threads < chunks ? t.threads : chunks), [&](int index, int size) {
        for (int64_t chunk = index; chunk < chunks; chunk += size)
            for (int64_t pair = 0; pair < pairs; pair++) {
                const int64_t end = (chunk + 1) * CHUNK < t.rows ? (chunk + 1) * CHUNK : t.rows;
                for (int64_t row = chunk * CHUNK; row < end; row += 8) {
                    const int64_t live = end - row < 8 ? end - row : 8;
                    tiled(live, [&](auto size) { times_tile<decltype(size)::value>(t, row, live, pair); });
                }
            }
    });
}

struct Gradient {
    int64_t rows, gates, hidden, columns, threads, a_stride;
    const float* d;       // (rows, blocks, gates, 16), unit blocks of sixteen
    const float* a;       // row n begins at a + (from ? from[n] : n) * a_stride
    const int64_t* from;
    float* out;           // (gates * hidden, columns), zero at first
    float* bias;          // (gates * hidden,), zero at first, or null
};

constexpr int DEEP = 256;  // rows that are summed at a time
constexpr int AHEAD = 24;   // rows that are fetched beforehand: each lies on another page

// panel[pair][n][32] = a[n][columns of the pair], zeros past the last column
static void pack_rows(const Gradient& g, int64_t begin, int64_t deep, float* panel) {
    for (int64_t n = 0; n < deep; n++) {
        const float* row = g.a + (g.from ? g.from[begin + n] : begin + n) * g.a_stride;
        for (int64_t column = 0; column < g.columns; column += PAIR) {
            float* to = panel + column * DEEP + n * PAIR;
            for (int c = 0; c < 2; c++) {
                const int count = lanes(g.columns - column - c * LANES);
                store(to + c * LANES, count ? load(row + column + c * LANES, count) : V{});
            }
        }
    }
}

// Sixteen rows of the result, in two tiles of eight: the units of one block and gate.
static void gradient_rows(const Gradient& g, int64_t block, int64_t gate, int64_t begin, int64_t deep,
                          const float* panel) {
    const int64_t unit = block * LANES, first = gate * g.hidden + unit;
    const int64_t stride = blocks_of(g.hidden) * g.gates * LANES;
    const float* from = g.d + begin * stride + (block * g.gates + gate) * LANES;
    float column[DEEP * LANES];
    V total = {};
    for (int64_t n = 0; n < deep; n++) {
        const V d = load(from + n * stride);
        __builtin_prefetch(from + (n + AHEAD) * stride);
        store(column + n * LANES, d);
        total += d;
    }
    const int live = lanes(g.hidden - unit);
    if (g.bias) store(g.bias + first, load(g.bias + first, live) + total, live);
    for (int64_t at = 0; at < g.columns; at += PAIR)
        for (int half = 0; half < live; half += 8) {
            V sum[8 * 2];
            const float* d = column + half;
            products<8, 2>([&](int r, int64_t k) { return d[k * LANES + r]; }, panel + at * DEEP, deep, sum);
            for (int r = 0; r < 8 && half + r < live; r++)
                for (int c = 0; c < 2; c++) {
                    const int count = lanes(g.columns - at - c * LANES);
                    if (!count) break;
                    float* to = g.out + (first + half + r) * g.columns + at + c * LANES;
                    store(to, load(to, count) + sum[r * 2 + c], count);
                }
        }
}

// out = sum over n of d[n]^T a[n], bias = sum over n of d[n]. Threads take rows of the result, so that every sum
// has one order.
extern "C" void gradient(const Gradient* call) {
    const Gradient& g = *call;
    const int64_t all = g.gates * blocks_of(g.hidden), pairs = (g.columns + PAIR - 1) / PAIR;
    together(static_cast<int>(g.threads < all ? g.threads : all), [&](int index, int size) {
        float* panel = static_cast<float*>(malloc(sizeof(float) * pairs * PAIR * DEEP));
        for (int64_t begin = 0; begin < g.rows; begin += DEEP) {
            const int64_t deep = g.rows - begin < DEEP ? g.rows - begin : DEEP;
            pack_rows(g, begin, deep, panel);
            for (int64_t v = all * index / size; v < all * (index + 1) / size; v++)
                gradient_rows(g, v / g.gates, v % g.gates, begin, deep, panel);
        }
        free(panel);
    });
}

struct Pack {
    int64_t gates, hidden, columns, width;
    const float* from;  // (gates * hidden, columns)
    float* to;
};

// Units become columns: (vectors / width, columns of `from`, width, 16), where the vectors are (blocks, gates).
extern "C" void pack_columns(const Pack* call) {
    const Pack& p = *call;
    const int64_t all = blocks_of(p.hidden) * p.gates, stride = p.width * LANES;
    for (int64_t v = 0; v < (all + p.width - 1) / p.width * p.width; v++) {
        float* to = p.to + v / p.width * p.columns * stride + v % p.width * LANES;
        const int live = v < all ? lanes(p.hidden - v / p.gates * LANES) : 0;
        const float* from = p.from + (v % p.gates * p.hidden + v / p.gates * LANES) * p.columns;
        for (int64_t k = 0; k < p.columns; k += LANES) {
            const int count = lanes(p.columns - k);
            V tile[LANES];
            UNROLL for (int l = 0; l < LANES; l++) tile[l] = l < live ? load(from + l * p.columns + k, count) : V{};
            transpose(tile);
            for (int j = 0; j < count; j++) store(to + (k + j) * stride, tile[j]);
        }
    }
}

// Units become the depth, in the order (blocks, gates, 16): (pairs of vectors of columns, depth, 32).
extern "C" void pack_depth(const Pack* call) {
    const Pack& p = *call;
    const int64_t all = blocks_of(p.hidden) * p.gates;
    for (int64_t column = 0; column < p.columns; column += PAIR)
        for (int64_t v = 0; v < all; v++)
            for (int l = 0; l < LANES; l++) {
                const int64_t unit = v / p.gates * LANES + l;
                const float* from = p.from + (v % p.gates * p.hidden + unit) * p.columns + column;
                float* to = p.to + column * all * LANES + (v * LANES + l) * PAIR;
                for (int c = 0; c < 2; c++) {
                    const int count = unit < p.hidden ? lanes(p.columns - column - c * LANES) : 0;
                    store(to + c * LANES, count ? load(from + c * LANES, count) : V{});
                }
            }
}

struct Normal {
    int64_t rows, gates, hidden, threads;
    float* values;        // (rows, blocks, gates, 16)
    float* deviations;    // (rows, gates): 1 / standard deviation
    const float* gains;   // (blocks, gates, 16)
    const float* normal;  // (rows, blocks, gates, 16)
    float* sums;          // (rows / 64, 2, blocks, gates, 16): of the gradient, and of the gradient times normal
};

// mean[g] = the mean of f(g, block) over the units, for several gates side by side.
template <int N, class F>
static void means(const Normal& n, const F& f, float* mean) {
    V total[N] = {};
    const int64_t last = blocks_of(n.hidden) - 1;
    for (int64_t b = 0; b < last; b++)
        UNROLL for (int g = 0; g < N; g++) total[g] += f(g, b);
    UNROLL for (int g = 0; g < N; g++)
        mean[g] = sum(total[g] + only(f(g, last), lanes(n.hidden - last * LANES))) / n.hidden;
}

// Calls f(first gate, Constant<N>) for groups of at most four gates.
template <class F>
static void each_gates(int64_t gates, const F& f) {
    for (int64_t g = 0; g < gates; g += 4) {
        if (gates - g >= 4) f(g, Constant<4>());
        else if (gates - g == 3) f(g, Constant<3>());
        else if (gates - g == 2) f(g, Constant<2>());
        else f(g, Constant<1>());
    }
}

template <class F>
static void each_chunk(const Normal& n, const F& f) {
    constexpr int64_t CHUNK = 64;
    const int64_t chunks = (n.rows + CHUNK - 1) / CHUNK;
    together(static_cast<int>(n.threads < chunks ? n.threads : chunks), [&](int index, int size) {
        for (int64_t i = index; i < chunks; i += size)
            f(i, i * CHUNK, i * CHUNK + CHUNK < n.rows ? i * CHUNK + CHUNK : n.rows);
    });
}

// Each gate's units by themselves, as torch's layer_norm with its eps, in place; without a gain.
template <int N>
static void normalize_row(const Normal& n, float* v, float* deviations) {
    const int64_t blocks = blocks_of(n.hidden), stride = n.gates * LANES;
    float mean[N];
    means<N>(n, [&](int g, int64_t b) { return load(v + b * stride + g * LANES); }, mean);
    means<N>(n, [&](int g, int64_t b) {
        const V away = load(v + b * stride + g * LANES) - mean[g];
        return away * away;
    }, deviations);
    UNROLL for (int g = 0; g < N; g++) deviations[g] = 1.0f / __builtin_sqrtf(deviations[g] + 1e-5f);
    for (int64_t b = 0; b < blocks; b++)
        UNROLL for (int g = 0; g < N; g++) {
            float* at = v + b * stride + g * LANES;
            store(at, only((load(at) - mean[g]) * deviations[g], lanes(n.hidden - b * LANES)));
        }
}

extern "C" void normalize(const Normal* call) {
    const Normal& n = *call;
    const int64_t width = blocks_of(n.hidden) * n.gates * LANES;
    each_chunk(n, [&](int64_t, int64_t from, int64_t to) {
        for (int64_t row = from; row < to; row++)
            each_gates(n.gates, [&](int64_t g, auto count) {
                normalize_row<decltype(count)::value>(n, n.values + row * width + g * LANES,
                                                      n.deviations + row * n.gates + g);
            });
    });
}

// From the gradient of normal * gain + shift to that of what was normalised, in place.
template <int N>
static void unnormalize_row(const Normal& n, int64_t row, int64_t gate, float* shift, float* gain) {
    const int64_t blocks = blocks_of(n.hidden), stride = n.gates * LANES;
    float *d = n.values + row * blocks * stride, mean[N], slope[N];
    const float *normal = n.normal + row * blocks * stride, *deviation = n.deviations + row * n.gates + gate;
    const auto scaled = [&](int64_t at) { return load(d + at) * load(n.gains + at); };
    const auto at = [&](int g, int64_t b) { return b * stride + (gate + g) * LANES; };
    means<N>(n, [&](int g, int64_t b) { return scaled(at(g, b)); }, mean);
    means<N>(n, [&](int g, int64_t b) { return scaled(at(g, b)) * load(normal + at(g, b)); }, slope);
    for (int64_t b = 0; b < blocks; b++)
        UNROLL for (int g = 0; g < N; g++) {
            const int64_t i = at(g, b);
            const V flow = load(d + i), v = load(normal + i);
            store(shift + i, load(shift + i) + flow);
            store(gain + i, load(gain + i) + flow * v);
            const V value = deviation[g] * (scaled(i) - mean[g] - v * slope[g]);
            store(d + i, only(value, lanes(n.hidden - b * LANES)));
        }
}

extern "C" void unnormalize(const Normal* call) {
    const Normal& n = *call;
    const int64_t width = blocks_of(n.hidden) * n.gates * LANES;
    each_chunk(n, [&](int64_t chunk, int64_t from, int64_t to) {
        float *shift = n.sums + chunk * 2 * width, *gain = shift + width;
        for (int64_t row = from; row < to; row++)
            each_gates(n.gates, [&](int64_t gate, auto count) {
                unnormalize_row<decltype(count)::value>(n, row, gate, shift, gain);
            });
    });
}

struct Link {
    void (*function)(const void*);
    const void* call;
};

// Each by one thread of a team.
extern "C" void run_together(const Link* links, int64_t count) {
    together(static_cast<int>(count), [&](int index, int size) {
        for (int64_t i = index; i < count; i += size) links[i].function(links[i].call);
    });
}

// One after another.
extern "C" void run_chain(const Link* links, int64_t count) {
    for (int64_t i = 0; i < count; i++) links[i].function(links[i].call);
}

struct Noise {
    int64_t rows, units, limit, threads;
    const int32_t* starts;  // (rows,)
    uint8_t* out;           // (rows, units): 1 where the hash is below the limit
};

typedef uint32_t Bits __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static Bits mix(Bits z) {
    z ^= z >> 16;
    z *= 0x7feb352du;
    z ^= z >> 15;
    z *= 0x846ca68bu;
    return z ^ (z >> 16);
}

// The hash of recurra.layers.noise, whose bits these are.
extern "C" void noise(const Noise* call) {
    const Noise& n = *call;
    together(static_cast<int>(n.threads < n.rows ? n.threads : n.rows), [&](int index, int size) {
        const Bits lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
        for (int64_t row = n.rows * index / size; row < n.rows * (index + 1) / size; row++)
            for (int64_t unit = 0; unit < n.units; unit += LANES) {
                const Bits units = lane + static_cast<uint32_t>(unit + 1);
                const Bits hash = mix(static_cast<uint32_t>(n.starts[row]) ^ mix(units));
                const I signed_hash = (I)hash;
                const Bytes below = __builtin_convertvector(-(signed_hash < static_cast<int32_t>(n.limit)), Bytes);
                __builtin_memcpy(n.out + row * n.units + unit, &below, lanes(n.units - unit));
            }
    });
}
