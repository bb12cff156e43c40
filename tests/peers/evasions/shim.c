/* A library before the library: its SSL_write and SSL_read stand in front of the real ones. */
#define _GNU_SOURCE
#include <dlfcn.h>

/* Modules that load the library for themselves keep it from the search for the next one. */
static void *behind(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    return found ? found : dlsym(dlopen("libssl.so.3", RTLD_LAZY | RTLD_NOLOAD), name);
}

#define IN_FRONT(name, bytes)                                                        \
    int name(void *tls, bytes *data, int length) {                                   \
        static int (*real)(void *, bytes *, int);                                    \
        if (!real) real = (int (*)(void *, bytes *, int))behind(#name);    \
        int done = real(tls, data, length);                                          \
        __asm__ volatile("" ::: "memory");                                           \
        return done;                                                                 \
    }
#define IN_FRONT_EX(name, bytes)                                                                      \
    int name(void *tls, bytes *data, unsigned long length, unsigned long *at) {                       \
        static int (*real)(void *, bytes *, unsigned long, unsigned long *);                          \
        if (!real) real = (int (*)(void *, bytes *, unsigned long, unsigned long *))behind(#name); \
        int done = real(tls, data, length, at);                                                       \
        __asm__ volatile("" ::: "memory");                                                            \
        return done;                                                                                  \
    }

IN_FRONT(SSL_write, const void)
IN_FRONT(SSL_read, void)
IN_FRONT_EX(SSL_write_ex, const void)
IN_FRONT_EX(SSL_read_ex, void)
