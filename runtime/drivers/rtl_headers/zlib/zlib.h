// What an FST waveform needs of zlib, for machines without it: stored blocks (RFC 1950, RFC 1951).

#pragma once

#include <cstdint>
#include <cstring>

using Bytef = unsigned char;
using uLong = unsigned long;
using uLongf = unsigned long;

constexpr int Z_OK = 0, Z_BUF_ERROR = -5;

inline uLong compressBound(uLong size) { return size + (size / 65535 + 1) * 5 + 6; }

inline int compress2(Bytef* to, uLongf* room, const Bytef* from, uLong size, int) {
  if (*room < compressBound(size)) return Z_BUF_ERROR;
  Bytef* at = to;
  *at++ = 0x78;
  *at++ = 0x01;
  uint32_t a = 1, b = 0;  // Adler-32
  uLong done = 0;
  do {
    uLong count = size - done < 65535 ? size - done : 65535;
    *at++ = done + count == size;
    *at++ = Bytef(count);
    *at++ = Bytef(count >> 8);
    *at++ = Bytef(~count);
    *at++ = Bytef(~count >> 8);
    memcpy(at, from + done, count);
    for (uLong i = 0; i < count; i++) {
      a = (a + at[i]) % 65521;
      b = (b + a) % 65521;
    }
    at += count;
    done += count;
  } while (done < size);
  for (uint32_t part : {b >> 8, b, a >> 8, a}) *at++ = Bytef(part);
  *room = uLongf(at - to);
  return Z_OK;
}
