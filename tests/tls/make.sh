#!/usr/bin/env bash
# Makes the certificates and keys of this folder anew. They are committed: tests need no openssl.
#
#   make.sh
#
# ca            signs server, wrong-host, expired, client and client-rsa
# other-ca      signs nothing: whoever trusts only it trusts none of them
# server        for localhost, 127.0.0.1 and ::1
# wrong-host    for elsewhere.test
# expired       for localhost, until 2001
# client        P-256; its key as PKCS#8, as SEC1, and as PKCS#8 encrypted with the password "ottla-test"
# client-rsa    RSA-2048; its key as PKCS#8 and as PKCS#1
#
# All but `expired` are valid for a hundred years. The keys guard nothing.

set -euo pipefail
cd "$(dirname "$0")"

readonly DAYS=36500
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

ec_key() {
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null ||
        openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"
}

authority() {
    ec_key "$work/$1.key"
    openssl req -x509 -new -key "$work/$1.key" -days "$DAYS" -subj "/CN=ottla test $1" \
        -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign,cRLSign' -out "$1.pem"
}

# issue NAME KEY EXTENSIONS [VALIDITY...]
issue() {
    local name=$1 key=$2 extensions=$3
    shift 3
    openssl req -new -key "$key" -subj "/CN=ottla test $name" -out "$work/$name.csr"
    printf '%s\n' "$extensions" >"$work/$name.ext"
    openssl x509 -req -in "$work/$name.csr" -CA ca.pem -CAkey "$work/ca.key" -CAcreateserial \
        -CAserial "$work/serial" -extfile "$work/$name.ext" "$@" -out "$name.pem" 2>/dev/null
}

authority ca
authority other-ca
for name in server wrong-host client; do
    ec_key "$name.key"
done
issue server server.key $'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\nextendedKeyUsage=serverAuth' -days "$DAYS"
issue wrong-host wrong-host.key $'subjectAltName=DNS:elsewhere.test\nextendedKeyUsage=serverAuth' -days "$DAYS"
issue client client.key $'extendedKeyUsage=clientAuth' -days "$DAYS"

openssl ec -in client.key -out client.sec1.key 2>/dev/null
openssl pkcs8 -topk8 -in client.key -passout pass:ottla-test -out client.encrypted.key
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out client-rsa.key 2>/dev/null
openssl rsa -in client-rsa.key -traditional -out client-rsa.pkcs1.key 2>/dev/null
issue client-rsa client-rsa.key $'extendedKeyUsage=clientAuth' -days "$DAYS"

# Only `openssl ca` can date a certificate back in every version.
ec_key expired.key
openssl req -new -key expired.key -subj '/CN=ottla test expired' -out "$work/expired.csr"
: >"$work/index.txt"
cat >"$work/ca.cnf" <<CNF
[ca]
default_ca = authority
[authority]
database = $work/index.txt
new_certs_dir = $work
serial = $work/serial
default_md = sha256
policy = any
copy_extensions = none
x509_extensions = server
[any]
commonName = supplied
[server]
subjectAltName = DNS:localhost,IP:127.0.0.1
extendedKeyUsage = serverAuth
CNF
openssl ca -batch -notext -config "$work/ca.cnf" -cert ca.pem -keyfile "$work/ca.key" -in "$work/expired.csr" \
    -startdate 20000101000000Z -enddate 20010101000000Z -out expired.pem 2>/dev/null
