/* Names of a TLS library and nothing behind them. */
int SSL_write(void *tls, const void *data, int length) { return tls && data ? length : -1; }
int SSL_read(void *tls, void *data, int length) { return tls && data ? length : -1; }
int SSL_set_fd(void *tls, int fd) { return tls && fd >= 0; }
void SSL_free(void *tls) { (void)tls; }
