// As busy.c, in Node: a server and its client. busy.mjs FOLDER
import fs from 'node:fs';
import tls from 'node:tls';

const read = (name) => fs.readFileSync(`${process.argv[2]}/${name}`);
const server = tls.createServer({cert: read('server.crt'), key: read('server.key')}, (end) => end.pipe(end));
server.listen(0, '127.0.0.1', () => {
  const end = tls.connect({port: server.address().port, ca: read('ca.pem'), servername: 'localhost'});
  let [number, wanted, got, last] = [0, '', '', false];
  const next = () => {
    if (last) {
      console.log(`${number} messages`);
      process.exit(0);
    }
    wanted = `${number++} `.repeat(1 + number % 400);
    got = '';
    end.write(wanted);
  };
  end.on('secureConnect', () => { console.log('busy'); next(); });
  end.on('data', (data) => {
    got += data;
    if (!wanted.startsWith(got)) process.exit(4);
    if (got.length === wanted.length) next();
  });
  process.stdin.on('end', () => { last = true; }).resume();
});
