/* A libcuda.so.1 without a GPU, with the calls that vtakit makes.

   Device memory is a pool; its addresses are none of this process's, so that nothing but copies
   can reach it from the host. A launched kernel is handed to a callback, which is to compute it;
   what it returns is the kernel's status, which later calls report, as a GPU's do.

   FAKE_CUDA_CAPABILITY=7.5, FAKE_CUDA_BYTES=1000000 and FAKE_CUDA_DEVICES=0 make another GPU. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { OK = 0, INVALID = 1, OUT_OF_MEMORY = 2, NOT_FOUND = 500, NOT_PERMITTED = 800 };
enum { MOST_BLOCKS = 1 << 12, MOST_PARAMETERS = 64 };

#define POOL (UINT64_C(1) << 30)
#define FIRST (UINT64_C(1) << 44)
#define GAP 4096

typedef int (*Compute)(const char *ptx, const char *name, unsigned blocks, unsigned threads,
                       const uint64_t *parameters, int count);
typedef struct { char *ptx; } Module;
typedef struct { Module *module; char *name; int parameters; } Function;
typedef struct { Function *function; unsigned blocks, threads; uint64_t values[MOST_PARAMETERS]; } Launch;
typedef struct { Launch *launches; int count; } Graph;
typedef struct { struct timespec at; } Event;

static Compute compute;
static unsigned char *pool;
static uint64_t used, held;
static struct { uint64_t begin, size; } blocks_[MOST_BLOCKS];
static int block_count, failed;
static Graph *recording;

void fake_compute(Compute callback) { compute = callback; }

unsigned char *fake_pool(void) {
    if (!pool)
        pool = mmap(0, POOL, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return pool;
}

uint64_t fake_first(void) { return FIRST; }
uint64_t fake_held(void) { return held; }

int fake_blocks(uint64_t *begins, uint64_t *sizes) {
    for (int i = 0; i < block_count; i++) begins[i] = blocks_[i].begin, sizes[i] = blocks_[i].size;
    return block_count;
}

static const char *setting(const char *name, const char *otherwise) {
    const char *found = getenv(name);
    return found ? found : otherwise;
}

int cuInit(unsigned flags) { (void)flags; return OK; }
int cuDriverGetVersion(int *version) { *version = 13000; return OK; }
int cuDeviceGetCount(int *count) { *count = atoi(setting("FAKE_CUDA_DEVICES", "1")); return OK; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return OK; }

int cuDeviceGetName(char *name, int length, int device) {
    (void)device;
    snprintf(name, length, "Fake GPU");
    return OK;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    const char *capability = setting("FAKE_CUDA_CAPABILITY", "9.0");
    if (attribute != 75 && attribute != 76) return INVALID;
    *value = attribute == 75 ? atoi(capability) : atoi(strchr(capability, '.') + 1);
    return OK;
}

int cuDevicePrimaryCtxRetain(void **context, int device) { (void)device; *context = &used; return OK; }
int cuDevicePrimaryCtxRelease(int device) { (void)device; return OK; }
int cuCtxSetCurrent(void *context) { return context == &used ? OK : INVALID; }
int cuStreamCreate(void **stream, unsigned flags) { (void)flags; *stream = &block_count; return OK; }
int cuStreamDestroy(void *stream) { return stream == &block_count ? OK : INVALID; }

int cuStreamSynchronize(void *stream) {
    if (stream != &block_count) return INVALID;
    return recording ? NOT_PERMITTED : failed;
}

int cuMemAlloc(uint64_t *address, size_t size) {
    uint64_t most = strtoull(setting("FAKE_CUDA_BYTES", "1000000000"), 0, 10);
    if (failed) return failed;
    if (!size || block_count == MOST_BLOCKS) return INVALID;
    if (held + size > most || used + size + GAP > POOL) return OUT_OF_MEMORY;
    used = (used + GAP + 255) / 256 * 256;
    blocks_[block_count].begin = *address = FIRST + used;
    blocks_[block_count++].size = size;
    memset(fake_pool() + used, 0xa5, size);
    used += size;
    held += size;
    return OK;
}

int cuMemFree(uint64_t address) {
    for (int i = 0; i < block_count; i++)
        if (blocks_[i].begin == address) {
            held -= blocks_[i].size;
            blocks_[i] = blocks_[--block_count];
            return failed;
        }
    return INVALID;
}

static unsigned char *place(uint64_t address, size_t size) {
    for (int i = 0; i < block_count; i++)
        if (address >= blocks_[i].begin && address + size <= blocks_[i].begin + blocks_[i].size)
            return fake_pool() + (address - FIRST);
    return 0;
}

int cuMemcpyHtoD(uint64_t to, const void *from, size_t size) {
    unsigned char *found = place(to, size);
    if (failed || !found) return failed ? failed : INVALID;
    memcpy(found, from, size);
    return OK;
}

int cuMemcpyDtoH(void *to, uint64_t from, size_t size) {
    unsigned char *found = place(from, size);
    if (failed || !found) return failed ? failed : INVALID;
    memcpy(to, found, size);
    return OK;
}

int cuModuleLoadData(Module **module, const void *image) {
    if (!strstr(image, ".version")) return INVALID;
    *module = malloc(sizeof **module);
    (*module)->ptx = strdup(image);
    return OK;
}

int cuModuleUnload(Module *module) { free(module->ptx); module->ptx = 0; return failed; }

int cuModuleGetFunction(Function **function, Module *module, const char *name) {
    char entry[256];
    snprintf(entry, sizeof entry, ".entry %s(", name);
    const char *at = strstr(module->ptx, entry), *end = at ? strchr(at, ')') : 0;
    if (!end) return NOT_FOUND;
    *function = calloc(1, sizeof **function);
    (*function)->module = module;
    (*function)->name = strdup(name);
    for (at = strstr(at, ".param"); at && at < end; at = strstr(at + 1, ".param"))
        (*function)->parameters++;
    return OK;
}

static void start(const Launch *launch) {
    const Function *function = launch->function;
    if (!failed)
        failed = compute(function->module->ptx, function->name, launch->blocks, launch->threads,
                         launch->values, function->parameters);
}

int cuLaunchKernel(Function *function, unsigned x, unsigned y, unsigned z, unsigned tx, unsigned ty,
                   unsigned tz, unsigned shared, void *stream, void **parameters, void **extra) {
    Launch launch = {function, x, tx, {0}};
    if (!x || !tx || tx > 1024 || y != 1 || z != 1 || ty != 1 || tz != 1 || shared || extra ||
        stream != &block_count || function->parameters > MOST_PARAMETERS)
        return INVALID;
    for (int i = 0; i < function->parameters; i++) memcpy(&launch.values[i], parameters[i], 8);
    if (recording) {
        recording->launches = realloc(recording->launches, (recording->count + 1) * sizeof launch);
        recording->launches[recording->count++] = launch;
    } else {
        start(&launch);
    }
    return OK;
}

int cuStreamBeginCapture(void *stream, int mode) {
    if (stream != &block_count || recording || mode < 0 || mode > 2) return INVALID;
    recording = calloc(1, sizeof *recording);
    return OK;
}

int cuStreamEndCapture(void *stream, Graph **graph) {
    if (stream != &block_count || !recording) return INVALID;
    *graph = recording;
    recording = 0;
    return OK;
}

int cuGraphInstantiateWithFlags(Graph **executable, Graph *graph, unsigned long long flags) {
    if (flags) return INVALID;
    size_t size = graph->count * sizeof *graph->launches;
    *executable = calloc(1, sizeof **executable);
    (*executable)->launches = memcpy(malloc(size + 1), graph->launches, size);
    (*executable)->count = graph->count;
    return OK;
}

int cuGraphDestroy(Graph *graph) { free(graph->launches); free(graph); return OK; }
int cuGraphExecDestroy(Graph *graph) { return cuGraphDestroy(graph); }

int cuGraphLaunch(Graph *graph, void *stream) {
    if (stream != &block_count || recording) return INVALID;
    for (int i = 0; i < graph->count; i++) start(&graph->launches[i]);
    return OK;
}

int cuEventCreate(Event **event, unsigned flags) { *event = calloc(1, sizeof **event); return flags ? INVALID : OK; }
int cuEventDestroy(Event *event) { free(event); return OK; }

int cuEventRecord(Event *event, void *stream) {
    clock_gettime(CLOCK_MONOTONIC, &event->at);
    return stream == &block_count ? OK : INVALID;
}

int cuEventElapsedTime(float *milliseconds, Event *start, Event *end) {
    *milliseconds = (end->at.tv_sec - start->at.tv_sec) * 1e3f + (end->at.tv_nsec - start->at.tv_nsec) / 1e6f;
    return failed;
}

int cuGetErrorString(int error, const char **text) {
    *text = error == OUT_OF_MEMORY ? "out of memory"
            : error == 700         ? "an illegal memory access was encountered"
            : error == INVALID     ? "invalid argument"
                                   : "an error";
    return OK;
}

int cuGetProcAddress(const char *name, void **function, int version, uint64_t flags, int *status) {
    Dl_info info;
    (void)version, (void)flags;
    dladdr((void *)cuInit, &info);
    *function = dlsym(dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD), name);
    if (status) *status = *function ? 0 : 1;
    return *function ? OK : NOT_FOUND;
}

int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *status) {
    return cuGetProcAddress(name, function, version, flags, status);
}
