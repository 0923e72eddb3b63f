#!/usr/bin/env bash
# Starts the backends of the demo and a proxy in front of them, and prints what to try. Ctrl-C ends all,
# and so does closing the terminal.
#   deploy/demo/run.sh PATH-OF-HEADGATE
set -euo pipefail
# Each child in a process group of its own: Ctrl-C is for this script alone, which then ends them in order.
set -m
headgate=${1:?give the path of the headgate binary}
cd "$(dirname "$0")/../.."

http=${HEADGATE_HTTP_PORT:-8080}
https=${HEADGATE_HTTPS_PORT:-8443}
admin=${HEADGATE_HEALTHZ_PORT:-10254}
children=()
pipes=$(mktemp -d)

# Ends whatever was started, also what was started this moment ($!) and did not get into the list yet. A terminal that
# closes sends SIGHUP, which the proxy takes as "read again": all get SIGTERM.
end() {
    trap '' HUP INT QUIT TERM
    trap - EXIT
    rm -rf "$pipes"
    local started=("${children[@]}")
    # Once each: the proxy takes a second signal as "now".
    [[ -z ${!:-} || " ${children[*]} " == *" $! "* ]] || started+=("$!")
    kill -TERM "${started[@]}" 2>/dev/null || true
    for _ in {1..100}; do
        kill -0 "${started[@]}" 2>/dev/null || return 0
        sleep 0.05
    done
    kill -KILL "${started[@]}" 2>/dev/null || true
}
trap end EXIT
trap 'end; exit 0' HUP INT QUIT TERM

# backends FLAG...: echo backends; they say on their first line that they listen, or have said why not
backends() {
    local pipe="$pipes/${#children[@]}"
    mkfifo "$pipe"
    "$headgate" echo "$@" >"$pipe" &
    children+=($!)
    # Stays open, for what else they say.
    exec {said}<"$pipe"
    read -r _ <&"$said" || exit 1
}

# True while all run.
alive() {
    local child
    for child in "${children[@]}"; do
        kill -0 "$child" 2>/dev/null || return 1
    done
}

# True once the proxy takes requests.
ready() {
    local status
    { exec 3<>"/dev/tcp/127.0.0.1/$admin"; } 2>/dev/null || return 1
    printf 'GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
    read -r status <&3 || status=
    exec 3>&-
    [[ $status == *" 200 "* ]]
}

backends --port 4001 --port 4002 --port 4003
backends --port 4004 --tls
"$headgate" serve --dir deploy/demo --http-port "$http" --https-port "$https" --healthz-port "$admin" \
    --https-redirect-port "$https" --shutdown-grace-period 0s --drain-timeout 2s &
proxy=$!
children+=("$proxy")

until ready; do
    # A proxy that is gone had a reason, and has said it.
    kill -0 "$proxy" 2>/dev/null || exit 1
    sleep 0.1
done

cat <<TRY

Ready. In another terminal:

  curl http://demo.localhost:$http/hello          two backends take turns: see "pod"
  curl http://demo.localhost:$http/api/users      HTTP/2 to the backend: see "proto"
  curl http://demo.localhost:$http/vault          TLS to the backend: see "tls"
  curl -i http://shop.localhost:$http/cart        redirected to https
  curl -k https://shop.localhost:$https/cart       TLS and HTTP/2 (-k: the demo's certificate is self-signed)
  for i in {1..6}; do curl -i http://limited.localhost:$http/; done
                                                  a ProxyPolicy lets five through: the sixth is 429
  curl -i http://nobody.localhost:$http/          no such host: 404

  Websocket, in a browser's console on http://demo.localhost:$http/ :
    s = new WebSocket("ws://demo.localhost:$http/chat"); s.onmessage = e => console.log(e.data); s.onopen = () => s.send("hello")

  Live: in deploy/demo/backends.yaml set a "ready" to false, save, and ask the first URL again.

  curl http://localhost:$admin/debug/routes         what is served
  curl http://localhost:$admin/debug/problems       what is wrong with objects and files
  curl http://localhost:$admin/metrics              and how it goes

The lines below are the access log. Ctrl-C ends all.

TRY
# Asks rather than waits: `wait -n` says nothing of a child that is gone before it begins.
mkfifo "$pipes/silence"
exec {silence}<>"$pipes/silence"
while alive; do
    read -r -t 1 _ <&"$silence" || true
done
echo "One process of the demo has ended: so do the others." >&2
exit 1
