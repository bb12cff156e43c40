// Node's http2: sizes both ways, twenty streams at once, trailers.
import { readFileSync } from 'node:fs';
import { connect } from 'node:http2';

const session = connect(process.env.H2_URL, { ca: readFileSync(process.env.SSL_CERT_FILE) });

function ask(method, path, body) {
  return new Promise((done, failed) => {
    const stream = session.request({ ':method': method, ':path': path, 'x-client': 'node' });
    let length = 0;
    stream.on('data', (piece) => { length += piece.length; });
    stream.on('end', () => done(length));
    stream.on('error', failed);
    stream.end(body);
  });
}

for (const n of [0, 1, 16384, 70000, 300001]) {
  if (await ask('POST', `/echo?n=${n}`, Buffer.alloc(n, 'a')) !== n) throw new Error(`n=${n}`);
}
await Promise.all(Array.from({ length: 20 }, (_, at) => ask('GET', `/echo?n=${at * 5000}&at=${at}`)));
await ask('GET', '/echo?n=10&trailers=1');
session.close();
