/* Preloaded into the server by a test: a disk on which every sync takes SLOW_FDATASYNC_US microseconds.
   Without it a killed process loses nothing whatever it promised, since the kernel keeps what was written. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

#ifndef SLOW_FDATASYNC_US
#define SLOW_FDATASYNC_US 150000
#endif

int fdatasync(int descriptor) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    usleep(SLOW_FDATASYNC_US);
    return real(descriptor);
}
