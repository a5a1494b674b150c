/* Runs a network that is compiled for AArch64: main ARENA ALIGNED_BYTES CONSTANTS THREADS.

   ARENA is a file with what memory holds before, inputs included; afterwards what it holds then.
   CONSTANTS is a file too. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { ALIGN = 64 };

void network(void *arena, void *constants, uint64_t *times, void *team, int thread, int threads);

static pthread_barrier_t barrier;
static void *arena, *constants;
static int threads;

void vtakit_barrier(void *team) { pthread_barrier_wait(team); }

static void *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file) exit(3);
    fseek(file, 0, SEEK_END);
    *size = ftell(file);
    rewind(file);
    void *found = aligned_alloc(ALIGN, (*size + ALIGN) / ALIGN * ALIGN);
    if (!found || fread(found, 1, *size, file) != *size) exit(4);
    fclose(file);
    return found;
}

static void *run(void *number) {
    network(arena, constants, 0, &barrier, (int)(intptr_t)number, threads);
    return 0;
}

int main(int count, char **words) {
    size_t size, unused;
    if (count != 4) return 2;
    arena = read_file(words[1], &size);
    constants = read_file(words[2], &unused);
    threads = atoi(words[3]);
    pthread_t others[16];
    pthread_barrier_init(&barrier, 0, threads);
    for (intptr_t n = 1; n < threads; n++) pthread_create(&others[n], 0, run, (void *)n);
    run(0);
    for (int n = 1; n < threads; n++) pthread_join(others[n], 0);
    FILE *file = fopen(words[1], "wb");
    if (!file || fwrite(arena, 1, size, file) != size || fclose(file)) return 5;
    return 0;
}
