// What an FST waveform needs of LZ4, for machines without it: a block of literals alone, which any
// reader takes. The block format is a token with the count of literals from bit 4 on, or 15 and
// further bytes that are added up as long as they are 255; then the literals.

#pragma once

#include <cstring>

inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

inline int LZ4_compress_default(const char* from, char* to, int size, int room) {
  if (room < LZ4_compressBound(size)) return 0;
  char* at = to;
  *at++ = char((size < 15 ? size : 15) << 4);
  if (size >= 15) {
    int rest = size - 15;
    for (; rest >= 255; rest -= 255) *at++ = char(255);
    *at++ = char(rest);
  }
  memcpy(at, from, size_t(size));
  return int(at - to) + size;
}
