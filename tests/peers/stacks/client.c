/* OpenSSL linked into the program: built with -static and stripped, it names nothing. client PORT CA */
#include <netdb.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int dial(const char *port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&at, sizeof at)) exit(2);
    return fd;
}

/* One request on a connection of its own; the answer is read to its end. */
static void ask(SSL_CTX *context, const char *port, size_t length, int extended) {
    static char body[1 << 20], answer[1 << 16];
    char head[256];
    SSL *tls = SSL_new(context);
    int fd = dial(port);
    SSL_set_fd(tls, fd);
    SSL_set1_host(tls, "localhost");
    if (SSL_connect(tls) != 1) exit(3);
    for (size_t at = 0; at < length; at++) body[at] = (char)(at * 31);
    int size = snprintf(head, sizeof head, "POST /echo?n=%zu HTTP/1.1\r\nHost: localhost:%s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
                        length, port, length);
    size_t done;
    if (SSL_write(tls, head, size) != size) exit(4);
    if (length && (extended ? SSL_write_ex(tls, body, length, &done) != 1 : SSL_write(tls, body, (int)length) <= 0)) exit(5);
    while (extended ? SSL_read_ex(tls, answer, sizeof answer, &done) == 1 : SSL_read(tls, answer, sizeof answer) > 0) {}
    SSL_shutdown(tls);
    SSL_free(tls);
    close(fd);
}

int main(int count, char **words) {
    if (count != 3) return 1;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (SSL_CTX_load_verify_locations(context, words[2], NULL) != 1) return 1;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    size_t sizes[] = {0, 1, 1000, 16384, 70000, 1 << 20};
    for (int at = 0; at < 6; at++)
        for (int extended = 0; extended < 2; extended++) ask(context, words[1], sizes[at], extended);
    return 0;
}
