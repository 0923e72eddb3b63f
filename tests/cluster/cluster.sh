#!/usr/bin/env bash
# A real one-node Kubernetes without Docker: etcd, API server, controllers, scheduler, kubelet, kube-proxy, containerd
# and runc, in two network namespaces of its own: headgate-node (the node) and headgate-client (the world outside it).
#   cluster.sh run BINARY      until its stdin ends, with BINARY as image headgate.test/headgate:1, and a shell and wget as
#                              headgate.test/busybox:1; waits for another run.
#                              Prints `ready STATE` once the node is Ready: the folder of kubeconfig, log/ and all else
#   cluster.sh stop|start|freeze|thaw NAME
#                              one of the components, with STATE in the environment
#   cluster.sh load NAME       into the node: NAME.tar of what `build.sh monitoring` builds, with STATE in the environment
# Also in STATE's cluster: nsenter --net=/run/netns/headgate-node|headgate-client COMMAND.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
LOCK=/run/headgate-cluster.lock
NODE_IP=10.89.0.2 CLIENT_IP=10.89.0.1 PODS=10.244.0.0/16 SERVICES=10.96.0.0/16 FIRST_SERVICE=10.96.0.1
PACKAGES=(containerd runc containernetworking-plugins iptables conntrack openssl iproute2 util-linux python3 binutils
    busybox)

fail() { echo "cluster: $*"; exit 1; }

# `ip netns exec` would hide the cgroup mounts, nsenter does not.
node() { nsenter --net=/run/netns/headgate-node "$@"; }
ctr() { command ctr -a "$STATE/run/containerd.sock" -n k8s.io "$@"; }
kubectl() { node "$KUBE/kubectl" "$@"; }

needs() {
    local missing=()
    ((EUID == 0)) || fail "needs root (network namespaces, cgroups, mounts), or KUBECONFIG_E2E with the path of another cluster's kubeconfig"
    for program in containerd ctr runc /usr/lib/cni/bridge iptables conntrack openssl ip nsenter python3 strip busybox; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    ((${#missing[@]} == 0)) || fail "needs ${missing[*]} (Debian: ${PACKAGES[*]})"
}

await() { # SECONDS NAME COMMAND...: NAME is the component whose log tells why not
    local tries=$(($1 * 10)) name=$2
    shift 2
    for ((i = 0; i < tries; i++)); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.1
    done
    tail -n 20 "$STATE/log/$name.log" >&2
    fail "$name did not come up; the end of its log is above"
}

network() {
    ip netns add headgate-node
    ip netns add headgate-client
    ip link add uplink netns headgate-node type veth peer name downlink netns headgate-client
    ip -n headgate-node link set lo up
    ip -n headgate-node addr add $NODE_IP/24 dev uplink
    ip -n headgate-node link set uplink up
    ip -n headgate-client link set lo up
    ip -n headgate-client addr add $CLIENT_IP/24 dev downlink
    ip -n headgate-client link set downlink up
    ip -n headgate-node route add default via $CLIENT_IP
    ip -n headgate-client route add $PODS via $NODE_IP
    ip -n headgate-client route add $SERVICES via $NODE_IP
    node sysctl -qw net.ipv4.ip_forward=1
}

# Pods are below a group of their own: a kubelet ends whatever it does not know below its root.
cgroups() {
    local hierarchies=(/sys/fs/cgroup)
    [ -e /sys/fs/cgroup/cgroup.controllers ] || hierarchies=(/sys/fs/cgroup/*/)
    mkdir "${hierarchies[@]/%//${STATE##*/}}"
}

certificates() (
    local names="DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:$FIRST_SERVICE,IP:$NODE_IP"
    cd "$STATE/pki"
    openssl ecparam -name prime256v1 -genkey -noout -out ca.key
    openssl req -x509 -new -key ca.key -subj /CN=test-ca -days 30 -out ca.crt
    openssl ecparam -name prime256v1 -genkey -noout -out api.key
    openssl req -new -key api.key -subj /CN=kube-apiserver -out api.csr
    openssl x509 -req -in api.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out api.crt \
        -extfile <(echo "subjectAltName=$names") 2>/dev/null
    openssl genrsa -out sa.key 2048 2>/dev/null
    openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
    echo 'admin,admin,admin,"system:masters"' >tokens.csv
    cat >"$KUBECONFIG" <<K
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://$NODE_IP:6443", certificate-authority: $STATE/pki/ca.crt}}]
users: [{name: admin, user: {token: admin}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
current-context: test
K
)

configuration() {
    cat >"$STATE/containerd.toml" <<T
version = 2
root = "$STATE/containerd/root"
state = "$STATE/containerd/state"
[grpc]
  address = "$STATE/run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "headgate.test/pause:1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$STATE/cni"
T
    cat >"$STATE/cni/10-bridge.conflist" <<C
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipam": {"type": "host-local",
   "ranges": [[{"subnet": "$PODS"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "$STATE/ipam"}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
C
    cat >"$STATE/kubelet.yaml" <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /${STATE##*/}
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix://$STATE/run/containerd.sock
clusterDomain: cluster.local
clusterDNS: [$NODE_IP]
resolvConf: ""
podLogsDir: $STATE/pods
volumePluginDir: $STATE/volume-plugins
evictionHard: {nodefs.available: "1%", imagefs.available: "1%"}
imageGCHighThresholdPercent: 100
Y
    cat >"$STATE/kube-proxy.yaml" <<Y
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $KUBECONFIG}
clusterCIDR: $PODS
mode: iptables
hostnameOverride: node-1
conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
Y
}

# Starts a component; its process is the command itself.
start() { # NAME
    local command=("$KUBE/kube" "$1") pki=$STATE/pki
    case $1 in
        etcd) command+=(--data-dir "$STATE/etcd" --unsafe-no-fsync --log-level warn --listen-peer-urls http://127.0.0.1:2380
            --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379) ;;
        kube-apiserver) command+=(--etcd-servers http://127.0.0.1:2379 --advertise-address $NODE_IP --bind-address 0.0.0.0
            --tls-cert-file "$pki/api.crt" --tls-private-key-file "$pki/api.key" --client-ca-file "$pki/ca.crt"
            --token-auth-file "$pki/tokens.csv" --cert-dir "$pki/self" --service-account-key-file "$pki/sa.pub"
            --service-account-signing-key-file "$pki/sa.key" --service-account-issuer https://kubernetes.default.svc
            --service-cluster-ip-range $SERVICES --authorization-mode RBAC --allow-privileged
            --kubelet-preferred-address-types InternalIP) ;;
        containerd) command=(containerd --config "$STATE/containerd.toml") ;;
        # A node that could not tell of itself while a test had the API server stopped is still good.
        kube-controller-manager) command+=(--kubeconfig "$KUBECONFIG" --leader-elect=false --root-ca-file "$pki/ca.crt"
            --service-account-private-key-file "$pki/sa.key" --use-service-account-credentials
            --node-monitor-grace-period 1h) ;;
        kube-scheduler) command+=(--kubeconfig "$KUBECONFIG" --leader-elect=false) ;;
        kubelet) command+=(--config "$STATE/kubelet.yaml" --kubeconfig "$KUBECONFIG" --hostname-override node-1
            --node-ip $NODE_IP --root-dir "$STATE/kubelet" --cert-dir "$pki/kubelet") ;;
        kube-proxy) command+=(--config "$STATE/kube-proxy.yaml") ;;
        dns) command=("$HERE/dns.py" $NODE_IP "https://$NODE_IP:6443" admin "$pki/ca.crt") ;;
        *) fail "no component $1" ;;
    esac
    (exec setsid nsenter --net=/run/netns/headgate-node "${command[@]}") >>"$STATE/log/$1.log" 2>&1 </dev/null 9>&- &
    echo $! >"$STATE/run/$1.pid"
    # Its end is no news.
    disown
}

# Ends a component and waits until it is gone.
stop() { # NAME [SIGNAL]
    local pid
    pid=$(cat "$STATE/run/$1.pid" 2>/dev/null) || return 0
    # Of a run that was killed long ago somebody else may have the number by now.
    [ "/proc/$pid/ns/net" -ef /run/netns/headgate-node ] || return 0
    kill "${2:--KILL}" "$pid" 2>/dev/null || return 0
    timeout 10 tail --pid="$pid" -s 0.05 -f /dev/null || kill -KILL "$pid" 2>/dev/null || true
}

# Lets a component say nothing for a while.
freeze() { kill -STOP "$(cat "$STATE/run/$1.pid")"; }
thaw() { kill -CONT "$(cat "$STATE/run/$1.pid")"; }

load() { ctr images import "$1" >/dev/null; }

# A program under some paths, and the libraries that it is linked to, as an image.
image() { # NAME PROGRAM PATH...
    local libraries name=$1 program=$2
    shift 2
    libraries=$(ldd "$program" | grep -o '/[^ ]*' || true)
    # shellcheck disable=SC2086 # one argument a library
    "$HERE/image.py" "headgate.test/$name:1" "$STATE/$name.tar" "${@/#/$program=}" $libraries
}

up() { # BINARY
    mkdir -p "$STATE"/{log,run,cni,pki,kubelet,containerd}
    network
    cgroups
    certificates
    configuration
    start etcd
    start kube-apiserver
    start containerd
    strip -o "$STATE/headgate" "$1"
    image headgate "$STATE/headgate" /headgate
    image busybox "$(command -v busybox)" /bin/sh /bin/wget
    await 30 kube-apiserver kubectl get --raw /readyz
    start dns
    start kube-controller-manager
    start kube-scheduler
    await 20 containerd ctr version
    load "$KUBE/pause.tar"
    start kubelet
    start kube-proxy
    load "$STATE/headgate.tar"
    load "$STATE/busybox.tar"
    await 60 kubelet kubectl wait --for=condition=Ready node/node-1 --timeout=1s
    await 30 kube-controller-manager kubectl get serviceaccount default
}

# Takes away all of a run, whatever became of it.
down() (
    set +e
    stop kubelet -TERM
    for task in $(ctr tasks ls -q 2>/dev/null); do ctr tasks kill -s KILL "$task"; done 2>/dev/null
    for task in $(ctr tasks ls -q 2>/dev/null); do ctr tasks delete -f "$task"; done >/dev/null 2>&1
    for name in dns kube-proxy kube-scheduler kube-controller-manager kube-apiserver etcd containerd; do stop $name; done
    awk -v state="$STATE/" 'index($2, state) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mount; do
        umount "$mount" || umount -l "$mount"
    done
    find /sys/fs/cgroup -depth -path "*/${STATE##*/}*" -type d -exec rmdir {} + 2>/dev/null
    find /var/log/containers -xtype l -delete 2>/dev/null
    ip netns del headgate-node 2>/dev/null
    ip netns del headgate-client 2>/dev/null
    rm -rf "$STATE"
)

run() { # BINARY
    needs
    local monitoring
    # Before there is a node that would have to share the processors.
    KUBE=$("$HERE/build.sh" kube) && monitoring=$("$HERE/build.sh" monitoring) ||
        fail "Kubernetes or Prometheus could not be built; what is needed stands above"
    exec 9<>$LOCK
    flock --nonblock 9 || { echo "cluster: waiting for the end of another run" >&2; flock 9; }
    STATE=$(cat $LOCK)
    # A run that was killed could not tidy up.
    [ ! -d "$STATE" ] || down
    STATE=$(mktemp -d /tmp/headgate-cluster.XXXXXX)
    echo "$STATE" >$LOCK
    export KUBECONFIG=$STATE/kubeconfig
    trap down EXIT
    trap 'exit 130' INT TERM HUP PIPE
    ln -s "$KUBE" "$STATE/kube"
    ln -s "$monitoring" "$STATE/monitoring"
    up "$1"
    echo "ready $STATE"
    while read -r; do :; done
}

case ${1:-} in
    run) run "$2" ;;
    stop | start | freeze | thaw) KUBE=$STATE/kube KUBECONFIG=$STATE/kubeconfig "$@" ;;
    load) load "$STATE/monitoring/$2.tar" ;;
    *) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
