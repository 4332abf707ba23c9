#!/bin/sh
# Sends one job of each type to a running server, follows them to their end, prints the results.
# Usage: ./test-queue.sh API_KEY        (LAUNCHKIT_URL, default http://localhost:3001)
# Exit code: 0 all succeeded, 1 one did not, 2 wrong use, 3 the server cannot be reached.
# A TRANSLATE job on a server without Apertium fails; that is shown and does not count.
set -u

key=${1:-${LAUNCHKIT_API_KEY:-}}
url=${LAUNCHKIT_URL:-http://localhost:3001}
url=${url%/}
wait_seconds=120

if [ -z "$key" ] || [ $# -gt 1 ]; then
    echo "Usage: $0 API_KEY    (make one with: launchkit keys create)" >&2
    exit 2
fi
if ! command -v curl >/dev/null 2>&1; then
    echo "This script needs curl (Debian: apt install curl)." >&2
    echo "Without it: LAUNCHKIT_API_KEY=… launchkit jobs submit SUMMARIZE FILE --watch" >&2
    exit 2
fi

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
# The key goes to curl through a private file: arguments can be seen by every user of the machine.
(umask 077 && printf 'header = "Authorization: Bearer %s"\n' "$key" >"$work/key")

# call OUTPUT CURL_ARGUMENTS…: prints the HTTP status.
call() {
    output=$1
    shift
    curl --silent --show-error --max-time 30 --config "$work/key" --output "$output" --write-out '%{http_code}' "$@" ||
        { echo "Cannot reach $url. Is the server running? (launchkit serve)" >&2; exit 3; }
}

# field NAME FILE: the first string or number of this name in a JSON document on one line.
field() {
    sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p; t
            s/.*\"$1\":\([0-9][0-9]*\).*/\1/p" "$2" | head -n 1
}

submit() {
    kind=$1 body=$2
    status=$(call "$work/$kind.json" -X POST "$url/v1/jobs/$kind" -H 'Content-Type: application/json' --data "$body") || exit $?
    if [ "$status" != 202 ]; then
        echo "The server refused the $kind job ($status):" >&2
        cat "$work/$kind.json" >&2
        echo >&2
        exit 1
    fi
    # The job's own id is the first field of the document.
    sed 's/^{"id":"\([a-z0-9]*\)".*/\1/' "$work/$kind.json" >"$work/$kind.id"
    echo "$kind: created $(cat "$work/$kind.id")"
}

state() {
    status=$(call "$work/$1.json" "$url/v1/jobs/$(cat "$work/$1.id")") || exit $?
    [ "$status" = 200 ] || { echo "Reading the $1 job failed ($status)." >&2; exit 1; }
    sed 's/^{"id":"[a-z0-9]*","type":"[A-Z]*","status":"\([A-Z]*\)".*/\1/' "$work/$1.json"
}

kinds="summarize classify sentiment translate extract"
submit summarize '{"text": "This is a test job to verify the queue system is working properly. It should be processed asynchronously by a worker."}'
submit classify '{"text": "The striker scored twice and the home team won the championship."}'
submit sentiment '{"text": "The staff were wonderful and we would love to come back!"}'
submit translate '{"text": "The library is open every day.", "to": "es"}'
submit extract '{"text": "Write to billing@example.com by 31 March 2026 about the $1,250.00."}'

left=$kinds
passed=0
while [ -n "$left" ] && [ "$passed" -lt $((wait_seconds * 2)) ]; do
    still=
    for kind in $left; do
        now=$(state "$kind") || exit $?
        case $now in
            SUCCEEDED | FAILED | CANCELED) echo "$kind: $now" ;;
            *) still="$still $kind" ;;
        esac
    done
    left=${still# }
    [ -z "$left" ] || sleep 0.5
    passed=$((passed + 1))
done

echo
result=0
for kind in $kinds; do
    echo "== $kind"
    cat "$work/$kind.json"
    echo
    now=$(state "$kind") || exit $?
    [ "$now" = SUCCEEDED ] && continue
    if [ "$kind" = translate ] && [ "$(field code "$work/$kind.json")" = translation-unavailable ]; then
        echo "(Translation is not available on this server; everything else does not need it.)"
        continue
    fi
    result=1
done
echo
if [ "$result" = 0 ]; then echo "All jobs ended as they should."; else echo "Not all jobs succeeded."; fi
exit "$result"
