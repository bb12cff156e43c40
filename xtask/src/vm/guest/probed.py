"""Maps the TLS library, then tells at each line on standard input how many bytes of its code differ from the file: probed ones do."""

import ssl
import sys

assert ssl.OPENSSL_VERSION


def differing():
    count = 0
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            fields = line.split()
            if len(fields) < 6 or "libssl" not in fields[5] or "x" not in fields[1]:
                continue
            start, end = (int(number, 16) for number in fields[0].split("-"))
            with open(fields[5], "rb") as file:
                file.seek(int(fields[2], 16))
                stored = file.read(end - start)
            memory.seek(start)
            mapped = memory.read(len(stored))
            count += sum(a != b for a, b in zip(mapped, stored))
    return count


print("mapped", flush=True)
for _ in sys.stdin:
    print(differing(), flush=True)
