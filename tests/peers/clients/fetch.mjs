// Node's own fetch: every size, both ways, several at once.
const url = process.env.STANDIN_URL;
const sizes = [0, 1, 1000, 16384, 70000, 1048576];
for (const n of sizes) {
  const body = new Uint8Array(n).map((_, at) => at * 31);
  const answer = await fetch(`${url}/echo?n=${n}&chunked=1`, { method: 'POST', body });
  await answer.arrayBuffer();
}
await Promise.all(sizes.map(async (n) => (await fetch(`${url}/echo?n=${n}&gzip=1`)).arrayBuffer()));
