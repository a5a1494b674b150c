// The machine that Verilator made, with memory on its AXI ports: a C interface for rtl_model.py.
//
// Memory answers as sim/TIMING.md has it: requests are taken at once, words arrive one a cycle in
// the order of grants, the first `latency` cycles after its grant; the response to a write burst
// comes `latency` cycles after its last word. With pauses, every channel stalls at random instead.

#include <cstdint>
#include <cstring>
#include <deque>
#include <vector>

#include "Vvta.h"
#include "verilated.h"
#if VTA_TRACE == 1
#include "verilated_vcd_c.h"
using Wave = VerilatedVcdC;
#elif VTA_TRACE == 2
#include "verilated_fst_c.h"
using Wave = VerilatedFstC;
#endif

namespace {

constexpr uint64_t kPage = 4096;
constexpr int kUnits = VTA_UNITS;
constexpr int kDecodeError = 3;  // xRESP; IHI 0022E, A3.4.4
constexpr int kNoAnswer = -1;

struct Burst {
  uint64_t due;  // the cycle of its first word, or of its response
  uint64_t address;
  int words;
  bool refused;
};

struct Machine {
  VerilatedContext context;
  Vvta* top = nullptr;
  uint8_t* dram;
  uint64_t dram_bytes;
  const uint8_t* program = nullptr;  // read at `program_base`, beside memory
  uint64_t program_base = 0, program_bytes = 0;
  uint64_t bus_bytes, latency;
  uint64_t now = 0;       // cycles since the machine was made
  uint64_t quiet = 0;     // cycles since anything moved on a bus, started or ended
  int64_t cycle = -1;     // of the run
  uint64_t read_free = 0;
  std::deque<Burst> reads, writes, responses;
  std::deque<std::vector<uint8_t>> words;  // written ahead of their address: data, then strobes
  std::vector<int64_t> starts[kUnits], ends[kUnits];
  uint64_t random = 0;  // state of the generator of pauses; 0: none
#if VTA_TRACE
  Wave* wave = nullptr;
#endif

  ~Machine() {
    close_wave();
    if (top) {
      top->final();
      delete top;
    }
  }

  void close_wave() {
#if VTA_TRACE
    if (wave) {
      wave->close();
      delete wave;
      wave = nullptr;
    }
#endif
  }

  uint64_t draw() {  // xorshift64*
    random ^= random >> 12;
    random ^= random << 25;
    random ^= random >> 27;
    return random * 0x2545F4914F6CDD1DULL >> 32;
  }

  bool pause() { return random && draw() % 3 == 0; }
  uint64_t delay() { return random ? draw() % (2 * latency + 2) : latency; }

  template <class T>
  static uint8_t* bytes(T& port) {
    return reinterpret_cast<uint8_t*>(&port);
  }

  const uint8_t* readable(uint64_t address) const {
    if (address >= program_base && address - program_base < program_bytes)
      return program + (address - program_base);
    return writable(address);
  }

  uint8_t* writable(uint64_t address) const {
    return address >= kPage && address + bus_bytes <= dram_bytes ? dram + address : nullptr;
  }

  void edge(bool high) {
    top->clk = high;
    top->eval();
#if VTA_TRACE
    if (wave) wave->dump(2 * now + high);
#endif
  }

  void read_channel() {
    if (top->m_axi_arvalid && top->m_axi_arready) {
      uint64_t first = now + delay();
      if (first < read_free) first = read_free;
      int count = top->m_axi_arlen + 1;
      reads.push_back({first, top->m_axi_araddr, count, false});
      read_free = random ? first : first + count;
      quiet = 0;
    }
    top->m_axi_rvalid = 0;
    if (reads.empty() || reads.front().due > now || pause()) return;
    Burst& burst = reads.front();
    const uint8_t* source = readable(burst.address);
    if (source) memcpy(bytes(top->m_axi_rdata), source, bus_bytes);
    top->m_axi_rvalid = 1;
    top->m_axi_rresp = source ? 0 : kDecodeError;
    top->m_axi_rlast = burst.words == 1;
    burst.address += bus_bytes;
    if (--burst.words == 0) reads.pop_front();
    quiet = 0;
  }

  void write_channels() {
    if (top->m_axi_awvalid && top->m_axi_awready) {
      writes.push_back({0, top->m_axi_awaddr, top->m_axi_awlen + 1, false});
      quiet = 0;
    }
    if (top->m_axi_wvalid && top->m_axi_wready) {
      std::vector<uint8_t> word(bus_bytes + 8);
      memcpy(word.data(), bytes(top->m_axi_wdata), bus_bytes);
      memcpy(word.data() + bus_bytes, &top->m_axi_wstrb, sizeof top->m_axi_wstrb);
      words.push_back(word);
      quiet = 0;
    }
    while (!words.empty() && !writes.empty()) {
      Burst& burst = writes.front();
      uint8_t* target = writable(burst.address);
      uint64_t strobes;
      memcpy(&strobes, words.front().data() + bus_bytes, sizeof strobes);
      if (target) {
        for (uint64_t i = 0; i < bus_bytes; i++)
          if (strobes >> i & 1) target[i] = words.front()[i];
      } else {
        burst.refused = true;
      }
      words.pop_front();
      burst.address += bus_bytes;
      if (--burst.words == 0) {
        responses.push_back({now + delay(), 0, 0, burst.refused});
        writes.pop_front();
      }
    }
    top->m_axi_bvalid = 0;
    if (responses.empty() || responses.front().due > now || pause()) return;
    top->m_axi_bvalid = 1;
    top->m_axi_bresp = responses.front().refused ? kDecodeError : 0;
    responses.pop_front();
    quiet = 0;
  }

  void step() {  // one clock cycle; what the machine puts out in it is there already
    if (top->trace_running) cycle++;
    int started = top->trace_start, ended = top->trace_end;
    if (started | ended) {
      quiet = 0;
      for (int unit = 0; unit < kUnits; unit++) {
        if (started >> unit & 1) starts[unit].push_back(cycle);
        if (ended >> unit & 1) ends[unit].push_back(cycle + 1);
      }
    }
    quiet++;
    top->m_axi_arready = !pause();
    top->m_axi_awready = !pause();
    top->m_axi_wready = !pause();
    read_channel();
    write_channels();
    edge(false);
    edge(true);
    now++;
  }
};

constexpr int kPatience = 1000;  // cycles that a register access may take

}  // namespace

extern "C" {

Machine* vta_new(uint8_t* dram, uint64_t dram_bytes, uint64_t bus_bytes, uint64_t latency,
                 int64_t seed) {
  auto* m = new Machine;
  m->dram = dram;
  m->dram_bytes = dram_bytes;
  m->bus_bytes = bus_bytes;
  m->latency = latency;
  m->context.randReset(seed < 0 ? 0 : 2);
  m->context.randSeed(seed < 0 ? 0 : static_cast<int>(seed % 0x7fffffff) + 1);
#if VTA_TRACE
  m->context.traceEverOn(true);
#endif
  m->top = new Vvta(&m->context, "vta");
  m->top->clk = 1;
  m->top->rst = 1;
  m->top->s_axil_awvalid = m->top->s_axil_wvalid = m->top->s_axil_arvalid = 0;
  m->top->s_axil_bready = m->top->s_axil_rready = 1;
  m->top->m_axi_rvalid = m->top->m_axi_bvalid = 0;
  m->top->m_axi_arready = m->top->m_axi_awready = m->top->m_axi_wready = 0;
  m->top->eval();
  for (int i = 0; i < 2; i++) {
    m->edge(false);
    m->edge(true);
    m->now++;
  }
  m->top->rst = 0;
  m->edge(false);
  m->edge(true);
  m->now++;
  return m;
}

void vta_free(Machine* m) { delete m; }

void vta_pauses(Machine* m, uint64_t seed) { m->random = seed; }

void vta_program(Machine* m, const uint8_t* words, uint64_t base, uint64_t bytes) {
  m->program = words;
  m->program_base = base;
  m->program_bytes = bytes;
}

// Read a register; below 0: no answer, or SLVERR.
int64_t vta_read(Machine* m, uint32_t offset) {
  m->top->s_axil_araddr = offset;
  m->top->s_axil_arvalid = 1;
  for (int i = 0; i < kPatience; i++) {
    bool taken = m->top->s_axil_arvalid && m->top->s_axil_arready;
    bool answers = m->top->s_axil_rvalid;
    int64_t value = m->top->s_axil_rresp ? kNoAnswer : int64_t(m->top->s_axil_rdata);
    m->step();
    if (taken) m->top->s_axil_arvalid = 0;
    if (answers) return value;
  }
  return kNoAnswer;
}

// Write a register; 0, or below 0: no answer, or SLVERR.
int vta_write(Machine* m, uint32_t offset, uint32_t value) {
  m->top->s_axil_awaddr = offset;
  m->top->s_axil_wdata = value;
  m->top->s_axil_wstrb = 15;
  m->top->s_axil_awvalid = m->top->s_axil_wvalid = 1;
  for (int i = 0; i < kPatience; i++) {
    bool address = m->top->s_axil_awvalid && m->top->s_axil_awready;
    bool data = m->top->s_axil_wvalid && m->top->s_axil_wready;
    bool answers = m->top->s_axil_bvalid;
    int response = m->top->s_axil_bresp ? kNoAnswer : 0;
    m->step();
    if (address) m->top->s_axil_awvalid = 0;
    if (data) m->top->s_axil_wvalid = 0;
    if (answers) return response;
  }
  return kNoAnswer;
}

// Forget the record of a run; the next one counts from 0.
void vta_begin(Machine* m) {
  m->cycle = -1;
  m->quiet = 0;
  for (int unit = 0; unit < kUnits; unit++) {
    m->starts[unit].clear();
    m->ends[unit].clear();
  }
}

// Run until the interrupt, for so many cycles at most: 1 when it came; -1 when nothing has moved
// for `patience` cycles; else 0.
int vta_run(Machine* m, uint64_t cycles, uint64_t patience) {
  for (uint64_t i = 0; i < cycles; i++) {
    if (m->top->irq) return 1;
    if (m->quiet > patience) return -1;
    m->step();
  }
  return m->top->irq;
}

int64_t vta_cycles(const Machine* m) { return m->cycle + 1; }

// Copy the cycles in which a unit's instructions started, or those after their ends; their number.
uint64_t vta_times(const Machine* m, int unit, int ends, int64_t* to) {
  const auto& times = ends ? m->ends[unit] : m->starts[unit];
  if (to) memcpy(to, times.data(), times.size() * sizeof(int64_t));
  return times.size();
}

// Write a waveform from here on; 0, or below 0 where this build has no waveforms.
int vta_wave(Machine* m, const char* path) {
#if VTA_TRACE
  m->close_wave();
  m->wave = new Wave;
  m->top->trace(m->wave, 99);
  m->wave->open(path);
  return m->wave->isOpen() ? 0 : -1;
#else
  return -1;
#endif
}
}
