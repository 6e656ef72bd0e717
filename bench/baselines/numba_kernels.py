"""Loops of the numba peer: parallel, cached in memory only, fastmath off.

Inner loops run over contiguous units and add whole vectors, never reduce: that is what LLVM vectorises without
fastmath. Vectors whose factor is 0 (inactive ReLU) are left out, as a user who knows the network would.
"""

import numpy as np
from numba import njit, prange


@njit(parallel=True)
def blocks_forward(xt, w1, b1, w2t, b2, w3, group, h1, h2, out):
    """LN and LCN: a thread takes whole blocks.

    group (d,): which weights a block has; xt (d, B); w2t (groups, in, out); h1, h2 (d, B, alpha); out (d, B).
    """
    d, batch = xt.shape
    alpha = w3.shape[1]
    for i in prange(d):
        g = group[i]
        for b in range(batch):
            z, x = h2[i, b], xt[i, b]
            for k in range(alpha):
                z[k] = b2[g, k]
            for j in range(alpha):
                a = max(x * w1[g, j] + b1[g, j], np.float32(0))
                h1[i, b, j] = a
                if a > 0:
                    for k in range(alpha):
                        z[k] += a * w2t[g, j, k]
            total = np.float32(0)
            for k in range(alpha):
                z[k] = max(z[k], np.float32(0))
                total += z[k] * w3[g, k]
            out[i, b] = total


@njit(parallel=True)
def blocks_backward(xt, r, w2, w3, group, h1, h2, gw1, gb1, gw2t, gb2, gw3):
    """Gradients per block, (d, ...), also for LN, whose caller sums them. r (B,); gw2t (d, in, out)."""
    d, batch = xt.shape
    alpha = w3.shape[1]
    for i in prange(d):
        g = group[i]
        dz, dh = np.empty(alpha, np.float32), np.empty(alpha, np.float32)
        gw1[i], gb1[i], gw2t[i], gb2[i], gw3[i] = 0, 0, 0, 0, 0
        for b in range(batch):
            rb, x = r[b], xt[i, b]
            for k in range(alpha):
                gw3[i, k] += rb * h2[i, b, k]
                dz[k] = rb * w3[g, k] if h2[i, b, k] > 0 else np.float32(0)
                gb2[i, k] += dz[k]
                dh[k] = 0
            for k in range(alpha):
                s = dz[k]
                if s != 0:
                    for j in range(alpha):
                        dh[j] += s * w2[g, k, j]
            for j in range(alpha):
                a = h1[i, b, j]
                if a > 0:
                    gw1[i, j] += dh[j] * x
                    gb1[i, j] += dh[j]
                    for k in range(alpha):
                        gw2t[i, j, k] += a * dz[k]


@njit(parallel=True)
def bias_relu(z, b):
    """max(z + b, 0) in place; z (B, H)."""
    for i in prange(z.shape[0]):
        for k in range(z.shape[1]):
            z[i, k] = max(z[i, k] + b[k], np.float32(0))


@njit(parallel=True)
def output_delta(r, w3, h2, dz):
    """dz[b, k] = r_b w3_k [h2 > 0]; all (B, H)."""
    for i in prange(h2.shape[0]):
        for k in range(h2.shape[1]):
            dz[i, k] = r[i] * w3[k] if h2[i, k] > 0 else np.float32(0)


@njit(parallel=True)
def mask(dh, h):
    """dh where h > 0, else 0, in place."""
    for i in prange(h.shape[0]):
        for k in range(h.shape[1]):
            if h[i, k] <= 0:
                dh[i, k] = 0


@njit
def product(a, b, out):
    """A BLAS product into a buffer of the caller's."""
    np.dot(a, b, out)


@njit(parallel=True)
def column_sums(a, out):
    """Sum over rows; a thread takes a range of columns."""
    pieces = 16
    for piece in prange(pieces):
        low, high = piece * a.shape[1] // pieces, (piece + 1) * a.shape[1] // pieces
        out[low:high] = 0
        for i in range(a.shape[0]):
            for k in range(low, high):
                out[k] += a[i, k]


@njit(parallel=True)
def path_vectors(w2, a3, c, q, e):
    """q_k = sum_j |w2_kj| c_j and e_j = sum_k a3_k |w2_kj| of one block, w2 (H, H); e is summed by column ranges."""
    pieces = 16
    n = w2.shape[0]
    for piece in prange(pieces):
        low, high = piece * n // pieces, (piece + 1) * n // pieces
        for k in range(low, high):
            total = np.float32(0)
            for j in range(n):
                total += abs(w2[k, j]) * c[j]
            q[k] = total
        e[low:high] = 0
        for k in range(n):
            for j in range(low, high):
                e[j] += a3[k] * abs(w2[k, j])


@njit(parallel=True)
def add_paths(w, row, column, factor, g):
    """g_kj += factor row_k column_j sign(w_kj); w (n, m)."""
    for k in prange(w.shape[0]):
        for j in range(w.shape[1]):
            s = factor * row[k] * column[j]
            if w[k, j] > 0:
                g[k, j] += s
            elif w[k, j] < 0:
                g[k, j] -= s


@njit(parallel=True)
def adam(p, g, m, v, beta1, rest1, beta2, rest2, size, epsilon, l1, l2):
    """One pass over flat arrays: the penalty's gradient, the moments and the step. rest: 1 - beta, rounded once."""
    for i in prange(p.shape[0]):
        w = p[i]
        sign = np.float32(w > 0) - np.float32(w < 0)
        gradient = g[i] + l1 * sign + l2 * w
        first = beta1 * m[i] + rest1 * gradient
        second = beta2 * v[i] + rest2 * gradient * gradient
        m[i], v[i] = first, second
        p[i] = w - size * first / (np.sqrt(second) + epsilon)
