/* What any program that only starts and waits can reach: `floor JOBS COUNT PROGRAM`, each time with its number. */
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

extern char **environ;

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: floor JOBS COUNT PROGRAM\n");
        return 2;
    }
    int jobs = atoi(argv[1]), count = atoi(argv[2]), living = 0, started = 0;
    while (started < count || living > 0) {
        while (started < count && living < jobs) {
            char number[16];
            pid_t pid;
            snprintf(number, sizeof number, "%d", ++started);
            char *words[] = {argv[3], number, NULL};
            if (posix_spawnp(&pid, argv[3], NULL, NULL, words, environ) != 0) {
                perror(argv[3]);
                return 1;
            }
            living++;
        }
        if (wait(NULL) > 0) living--;
    }
    return 0;
}
