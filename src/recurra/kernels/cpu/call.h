// What the loops of recurrence.h are called with: sizes, then tensors, filled in by loops.py.
#pragma once
#include <stdint.h>

struct Call {
    int64_t batch, steps, total, hidden;  // rows, steps of the longest row, sum of the lengths, H
    int64_t begin, end;  // the steps to run now; x and its gradient have these steps only
    int64_t threads, by_units, trains;
    int64_t places;  // B*T of the caller
    const int64_t* offsets;  // (steps + 1,): where the rows of a step begin in the packed order
    const int64_t* index;    // (total,): row of y (B*T, H) for each packed row
    const int64_t* order;    // (B,): the caller's row for each of ours
    const float* x;          // (rows now, blocks, X, 16): W x + b; if NORMALIZED, W x normalised
    const float* x_gains;    // (blocks, X, 16) or null, and what is added then: b
    const float* x_shifts;
    const float* early;      // U of the early gates, packed for forward or for backward
    const float* late;       // U of the late gates, likewise
    const float* vectors;    // (P, Hp)
    const float* gains;      // (G, Hp) or null
    const float* dropout;    // (B, Hp) or null, in our order
    const uint8_t* keep;     // (S, B*T, H): 1 where the state stands still, and 15 bytes of room behind; or null
    const float* shares;     // (S,): the share of each state tensor that is kept, or null
    const float* first;      // (S, B, H), in the caller's order as all that follows with B
    float* y;                // (B*T, H)
    float* last;             // (S, B, H)
    float* before;           // (total, S, Hp): the state before each step; (2, B, S, Hp) in inference
    float* fed;              // (total, D, Hp): what U multiplies, where it is not h; (2, B, D, Hp) in inference
    float* kept;             // (total, blocks, KEPT, 16); null in inference
    float* normal;           // (total, G, Hp): normalised U h; (B, G, Hp) in inference; null if not NORMALIZED
    float* deviations;       // (total, G): 1 / standard deviation of U h
    const float* dy;         // (B*T, H)
    float* dx;               // (rows now, blocks, X, 16)
    float* du;               // (rows now, blocks, E, 16): of the early gates; is dx if SAME
    float* dlate;            // (FACTORS, rows now + 8, blocks, L / FACTORS, 16)
    float* dstate;           // (S, B, H): gradient of the state after `end` in, of the state before `begin` out
    float* dvectors;         // (tiles, P, Hp), zero at first
    float* dgains;           // (tiles, G, Hp), zero at first
    float* flow;             // (S, B, Hp): room for the gradient of the state
    float* dfed;             // (B, FACTORS, Hp): room for the gradient of what U multiplied
};
