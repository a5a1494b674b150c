// A board in Verilator: bytes of a file descriptor to and from its serial pins.

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <deque>

#include "Vboard_sim.h"
#include "verilated.h"

namespace {

constexpr int kBits = 10;        // of a byte on the line
constexpr int kPollCycles = 64;  // between two looks at the descriptor

struct Board {
  VerilatedContext context;
  Vboard_sim* top = nullptr;
  int divisor;
  uint64_t cycles = 0, received = 0;
  std::deque<uint8_t> to_board;
  uint32_t out_bits = 0;  // of the byte that is sent, the low one next
  int out_left = 0, out_phase = 0;
  uint32_t in_bits = 0;
  int in_left = 0, in_phase = 0;

  ~Board() {
    top->final();
    delete top;
  }

  void send() {
    if (out_left == 0 && !to_board.empty()) {
      out_bits = uint32_t(to_board.front()) << 1 | 1u << 9;
      to_board.pop_front();
      out_left = kBits;
      out_phase = divisor;
    }
    if (out_left == 0) {
      top->rx = 1;
      return;
    }
    top->rx = out_bits & 1;
    if (--out_phase == 0) {
      out_bits >>= 1;
      out_left--;
      out_phase = divisor;
    }
  }

  int receive() {  // a byte, or -1
    if (in_left == 0) {
      if (top->tx) return -1;
      in_left = kBits;
      in_phase = divisor / 2;
      in_bits = 0;
      return -1;
    }
    if (--in_phase) return -1;
    in_phase = divisor;
    in_bits |= uint32_t(top->tx) << (kBits - in_left);
    if (--in_left) return -1;
    return in_bits >> 1 & 0xff;
  }

  void step() {
    top->clk = 0;
    top->eval();
    top->clk = 1;
    top->eval();
    cycles++;
  }
};

}  // namespace

extern "C" {

Board* board_new(int divisor) {
  auto* b = new Board;
  b->context.randReset(2);
  b->divisor = divisor;
  b->top = new Vboard_sim(&b->context, "board_sim");
  b->top->rx = 1;
  b->top->rst = 1;
  for (int i = 0; i < 4; i++) b->step();
  b->top->rst = 0;
  return b;
}

void board_free(Board* b) { delete b; }

void board_reset(Board* b) {
  b->top->rst = 1;
  for (int i = 0; i < 4; i++) b->step();
  b->top->rst = 0;
}

uint64_t board_cycles(const Board* b) { return b->cycles; }

uint64_t board_received(const Board* b) { return b->received; }

int board_broken(const Board* b) { return b->top->broken; }

// Run until `*stop` is 1 or the descriptor is closed; `*stop` 2 resets the board and goes on.
void board_serve(Board* b, int fd, std::atomic<int>* stop) {
  for (;;) {
    if (b->cycles % kPollCycles == 0) {
      int asked = stop->load();
      if (asked == 1) return;
      if (asked == 2) {
        board_reset(b);
        stop->store(0);
      }
      if (b->to_board.empty()) {
        pollfd ready = {fd, POLLIN, 0};
        if (poll(&ready, 1, 0) > 0 && (ready.revents & POLLIN)) {
          uint8_t bytes[4096];
          ssize_t count = read(fd, bytes, sizeof bytes);
          if (count > 0) {
            b->to_board.insert(b->to_board.end(), bytes, bytes + count);
            b->received += count;
          }
        }
      }
    }
    b->send();
    int byte = b->receive();
    if (byte >= 0) {
      uint8_t one = byte;
      while (write(fd, &one, 1) < 0 && errno == EAGAIN && stop->load() != 1) usleep(100);
    }
    b->step();
  }
}
}
