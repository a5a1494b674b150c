// A single-data-rate SDRAM that holds a controller to its data sheet (JEDEC 21-C, 3.11.5).
//
// Commands are taken at the rising edge; a word read is on dq_o from CL - 1 edges after READ's on,
// for one cycle. The first rule that is broken, a number from the list below, stays in `broken`.
module sdram_model #(
    parameter ROW_BITS = 13,
    parameter COLUMN_BITS = 9,
    parameter CL = 3,
    parameter T_RCD = 2, T_RP = 2, T_RAS = 4, T_RC = 6, T_RFC = 5, T_RRD = 2, T_DPL = 2, T_MRD = 2,
    parameter T_POWER_UP = 100,
    parameter REFRESH_CYCLES = 2048,  // in which every row's refresh, `ROWS_DUE` of them, is wanted
    parameter ROWS_DUE = 2
) (
    input clk,
    input cke, cs_n, ras_n, cas_n, we_n,
    input [1:0] ba,
    input [12:0] a,
    input [1:0] dqm,
    input [15:0] dq_i,
    input dq_oe,  // of the controller
    output [15:0] dq_o,
    output reg [7:0] broken
);
  localparam NO_RULE = 0, EARLY = 1, NOT_READY = 2, RCD = 3, RP = 4, RAS = 5, RC = 6, RFC = 7,
             RRD = 8, DPL = 9, MRD = 10, CLOSED = 11, OPEN = 12, DRIVEN = 13, MODE = 14,
             STARVED = 15, CLOCK_OFF = 16;

  reg [15:0] memory [0:(1 << (ROW_BITS + COLUMN_BITS + 2)) - 1];
  reg [3:0] is_open;
  reg [ROW_BITS-1:0] row [0:3];
  integer now, since_refresh, refreshes, window, mode_set;
  integer activated [0:3], precharged [0:3], written [0:3];
  integer any_activated, refreshed, mode_at;
  reg [1:0] init_refreshes;

  // Words on their way out: pipeline[CL-1] is on the pins.
  reg [15:0] pipeline [0:3];
  reg [3:0] coming;
  assign dq_o = coming[CL-1] ? pipeline[CL-1] : 16'hdead;

  wire [2:0] command = {ras_n, cas_n, we_n};
  wire selected = ~cs_n & cke;
  wire [ROW_BITS+COLUMN_BITS+1:0] place = {row[ba], ba, a[COLUMN_BITS-1:0]};

  integer i;
  initial begin
    broken = NO_RULE;
    is_open = 0;
    coming = 0;
    now = 0;
    refreshes = 0;
    window = 0;
    mode_set = 0;
    init_refreshes = 0;
    any_activated = -1000;
    refreshed = -1000;
    mode_at = -1000;
    for (i = 0; i < 4; i = i + 1) begin
      activated[i] = -1000;
      precharged[i] = -1000;
      written[i] = -1000;
    end
  end

  task rule(input holds, input [7:0] number);
    if (!holds && broken == NO_RULE) begin
      broken <= number;
      $display("SDRAM: rule %0d is broken in cycle %0d", number, now);
    end
  endtask

  task precharge(input [1:0] bank);
    begin
      if (is_open[bank]) begin
        rule(now - activated[bank] >= T_RAS, RAS);
        rule(now - written[bank] >= T_DPL, DPL);
        is_open[bank] <= 0;
        precharged[bank] <= now;
      end
    end
  endtask

  always @(posedge clk) begin
    now <= now + 1;
    coming <= {coming[2:0], 1'b0};
    for (i = 1; i < 4; i = i + 1) pipeline[i] <= pipeline[i-1];
    if (mode_set != 0) begin
      window <= window + 1;
      if (window == REFRESH_CYCLES) begin
        rule(refreshes >= ROWS_DUE, STARVED);
        window <= 0;
        refreshes <= 0;
      end
    end
    if (coming[CL-1]) rule(~dq_oe, DRIVEN);
    if (~cs_n) rule(cke, CLOCK_OFF);
    if (selected && command != 3'b111) begin
      rule(now >= T_POWER_UP, EARLY);
      rule(now - refreshed >= T_RFC, RFC);
      rule(now - mode_at >= T_MRD, MRD);
      case (command)
        3'b011: begin  // ACTIVATE
          rule(mode_set != 0, NOT_READY);
          rule(~is_open[ba], OPEN);
          rule(now - precharged[ba] >= T_RP, RP);
          rule(now - activated[ba] >= T_RC, RC);
          rule(now - any_activated >= T_RRD, RRD);
          is_open[ba] <= 1;
          row[ba] <= a[ROW_BITS-1:0];
          activated[ba] <= now;
          any_activated <= now;
        end
        3'b101: begin  // READ
          rule(is_open[ba], CLOSED);
          rule(now - activated[ba] >= T_RCD, RCD);
          pipeline[0] <= memory[place];
          coming[0] <= 1;
        end
        3'b100: begin  // WRITE
          rule(is_open[ba], CLOSED);
          rule(now - activated[ba] >= T_RCD, RCD);
          rule(dq_oe, DRIVEN);
          if (~dqm[0]) memory[place][7:0] <= dq_i[7:0];
          if (~dqm[1]) memory[place][15:8] <= dq_i[15:8];
          written[ba] <= now;
        end
        3'b010: begin  // PRECHARGE
          if (a[10]) for (i = 0; i < 4; i = i + 1) precharge(i[1:0]);
          else precharge(ba);
        end
        3'b001: begin  // REFRESH
          rule(is_open == 0, OPEN);
          for (i = 0; i < 4; i = i + 1) rule(now - precharged[i] >= T_RP, RP);
          refreshed <= now;
          refreshes <= refreshes + 1;
          if (init_refreshes != 3) init_refreshes <= init_refreshes + 1;
        end
        3'b000: begin  // MODE
          rule(is_open == 0, OPEN);
          rule(init_refreshes >= 2, NOT_READY);
          rule(a == CL << 4, MODE);  // bursts of one, this latency
          mode_set <= 1;
          mode_at <= now;
        end
        default: rule(0, MODE);  // BURST STOP is not used
      endcase
    end
  end
endmodule
