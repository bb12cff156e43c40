/* TLS from memory that is not there until it is read: pages that another thread delivers (userfaultfd). buffers PORT CA */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096, SIZE = 16 * PAGE };

static char *content, *delivered;
static int faults;

static void *deliver(void *unused) {
    struct uffd_msg message;
    while (read(faults, &message, sizeof message) == sizeof message) {
        unsigned long at = message.arg.pagefault.address & ~(PAGE - 1UL);
        struct uffdio_copy copy = {.dst = at, .src = (unsigned long)content + (at - (unsigned long)delivered), .len = PAGE};
        usleep(2000);
        ioctl(faults, UFFDIO_COPY, &copy);
    }
    return unused;
}

int main(int count, char **words) {
    if (count != 4) return 1;
    content = malloc(SIZE);
    delivered = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register all = {.range = {(unsigned long)delivered, SIZE}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    if (faults < 0 || ioctl(faults, UFFDIO_API, &api) || ioctl(faults, UFFDIO_REGISTER, &all)) return 2;
    pthread_t thread;
    pthread_create(&thread, NULL, deliver, NULL);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_load_verify_locations(context, words[2], NULL);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) return 3;
    SSL *tls = SSL_new(context);
    SSL_set_fd(tls, fd);
    if (SSL_connect(tls) != 1) return 4;
    printf("hidden %d\n", getpid());
    fflush(stdout);
    for (int number = 0; number < 10; number++) {
        static char answer[1 << 16];
        madvise(delivered, SIZE, MADV_DONTNEED);
        int head = sprintf(content, "POST /echo?trick=%s&n=10&number=%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: ", words[3], number);
        int body = SIZE - head - 9;
        head += sprintf(content + head, "%d\r\n\r\n", body);
        memset(content + head, 'u', SIZE - head);
        if (SSL_write(tls, delivered, head + body) <= 0) return 5;
        /* A head, and ten bytes that end it. */
        char *end = NULL;
        for (int got = 0, more; !end || answer + got < end + 14; got += more) {
            if ((more = SSL_read(tls, answer + got, (int)sizeof answer - 1 - got)) <= 0) return 6;
            answer[got + more] = 0;
            end = strstr(answer, "\r\n\r\n");
        }
        sleep(1);
    }
    return 0;
}
