#!/usr/bin/busybox sh
# The guest's only process tree: mounts, plays the plan that the kernel's command line names, sends what it saw, powers off.
/usr/bin/busybox --install -s /usr/sbin
export PATH=/usr/bin:/usr/sbin HOME=/ PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t debugfs debugfs /sys/kernel/debug
mount -t tmpfs -o size=90% tmpfs /scene
exec >/dev/console 2>&1
ifconfig lo 127.0.0.1 up
cd /scene

plan=$(sed 's/.*agentward.plan=\([a-z]*\).*/\1/' /proc/cmdline)
# Into the report, and with the time onto the console.
note() { echo "$1=$2" >>/scene/report; echo "$(cut -d' ' -f1 /proc/uptime) s: $1=$2"; }
note release "$(uname -r)"
note version "$(uname -v)"
note preempt "$(cat /sys/kernel/debug/sched/preempt 2>/dev/null)"

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
    left=$(($1 * 5)); shift
    until "$@"; do
        left=$((left - 1)); [ $left -gt 0 ] || return 1
        usleep 200000
    done
}
ready() { grep -q '^ready$' said || [ -s code ]; }

# A process that has the TLS library mapped, to see what is done to its code.
mkfifo hold
python3 /peers/probed.py <hold >probed &
exec 3>hold
probed() { lines=$(wc -l <probed); echo look >&3; wait_for 60 sh -c "[ \$(wc -l </scene/probed) -gt $lines ]"; tail -n 1 probed; }
wait_for 120 grep -q mapped probed || note trouble "python did not start"
echo "$(cut -d' ' -f1 /proc/uptime) s: loading"

{
    agentward record -o /scene/recording.jsonl --scope all 2>said & echo $! >recorder
    wait $!; echo $? >code
} &
wait_for 300 ready

if grep -q '^ready$' said; then
    note ready yes
    note attached_during "$(probed)"
    mkfifo stop
    python3 /peers/standin.py /scene <stop 2>standin.log &
    exec 4>stop
    wait_for 240 test -s /scene/port || note trouble "the server did not start: $(tail -n 1 standin.log)"
    url=https://localhost:$(cat port)
    export STANDIN_URL=$url SSL_CERT_FILE=/scene/ca.pem
    dd if=/dev/urandom of=upload bs=1000 count=300 2>/dev/null
    case $plan in
    watch)
        curl -sS --http1.1 --cacert ca.pem -o /dev/null "$url/echo?n=0" -o /dev/null "$url/echo?n=1" -o /dev/null "$url/echo?n=16384" \
            -o /dev/null "$url/echo?n=700000" -o /dev/null "$url/echo?n=50000&chunked=1" -o /dev/null "$url/echo?status=204" ||
            note trouble "curl $?"
        curl -sS --http1.1 --cacert ca.pem --data-binary @upload -o /dev/null "$url/echo?n=100" || note trouble "curl upload $?"
        # By its path: busybox has one of its own.
        /usr/bin/wget -q -O /dev/null --ca-certificate=ca.pem --post-file upload "$url/echo?n=16385" "$url/echo?n=30000&chunked=1" ||
            note trouble "wget $?"
        python3 /peers/cold.py upload || note trouble "cold $?"
        printf '40 small\n21 mixed\n5 new\n' | python3 /peers/load.py || note trouble "load $?"
        ;;
    load)
        printf '255 mixed\n300 small\n255 mixed\n' | python3 /peers/load.py & one=$!
        printf '300 small\n255 mixed\n300 small\n' | python3 /peers/load.py & two=$!
        for round in 1 2 3 4; do python3 /peers/cold.py upload || note trouble "cold $?"; done
        wait $one || note trouble "load one $?"
        wait $two || note trouble "load two $?"
        ;;
    esac
    kill -TERM "$(cat recorder)"
else
    note ready no
fi
wait_for 120 test -s code
note code "$(cat code)"
note attached_after "$(probed)"
if [ -s recording.jsonl ]; then
    agentward replay recording.jsonl --emit exchanges --format json >exchanges.jsonl 2>replay.log ||
        note trouble "replay: $(tail -n 1 replay.log)"
    grep -E '"kind":"(exec|loss)"' recording.jsonl >processes.jsonl
fi
dmesg | grep -E 'BUG|WARNING|Oops|Call Trace|general protection|stall|corrupt|panic' | grep -v 'ommand line' >dmesg
note kernel_faults "$(wc -l <dmesg)"
stty raw -F /dev/ttyS1
tar -cz report said ledger.jsonl exchanges.jsonl processes.jsonl dmesg 2>/dev/null | base64 >/dev/ttyS1
usleep 500000
poweroff -f
