/* A worker that takes memory as a file says: `grow FILE SECONDS`. The file holds KiB a second, and is read again each
   20 ms; while it is not there nothing is taken. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: grow FILE SECONDS\n");
        return 2;
    }
    double began = now(), last = began, owed = 0, seconds = atof(argv[2]);
    while (now() - began < seconds) {
        struct timespec pause = {0, 20 * 1000 * 1000};
        nanosleep(&pause, NULL);
        double at = now(), rate = 0;
        FILE *file = fopen(argv[1], "r");
        if (file != NULL) {
            if (fscanf(file, "%lf", &rate) != 1) rate = 0;
            fclose(file);
        }
        double passed = at - last > 0.1 ? 0.02 : at - last; /* what it stood for is not made up for */
        last = at;
        for (owed += rate * passed; owed >= 64; owed -= 64) {
            char *taken = malloc(64 * 1024);
            if (taken == NULL) return 1;
            memset(taken, 1, 64 * 1024);
        }
    }
    return 0;
}
