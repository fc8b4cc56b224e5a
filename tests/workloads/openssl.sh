# The library's assembly for this processor (AES, SHA, PMULL, wide multiplication), checked by itself and by its digests.
yes 'The five boxing wizards jump quickly.' | head -c 3000001 > plain
for digest in md5 sha1 sha224 sha256 sha384 sha512 sha3-256 sha3-512 shake128 blake2b512 blake2s256 ripemd160 sm3; do
    echo "$digest $(openssl dgst -"$digest" < plain 2>&1 | tail -1)"
done
for cipher in aes-128-ecb aes-128-cbc aes-192-cbc aes-256-cbc aes-128-ctr aes-256-ctr aes-256-cfb aes-256-ofb \
    chacha20 camellia-256-cbc aria-256-cbc sm4-cbc des-ede3-cbc; do
    openssl enc -e -"$cipher" -pbkdf2 -S 0123456789abcdef -pass pass:mimic -in plain -out sealed 2>/dev/null
    openssl enc -d -"$cipher" -pbkdf2 -S 0123456789abcdef -pass pass:mimic -in sealed -out opened 2>/dev/null
    cmp plain opened && same=round-trip || same=CORRUPT
    echo "$cipher $same $(sha256sum < sealed | cut -c1-32)"
done
for mac in "HMAC -macopt digest:SHA256 -macopt key:mimic" "CMAC -macopt cipher:aes-256-cbc -macopt hexkey:$(printf %064d 7)" \
    "GMAC -macopt cipher:aes-128-gcm -macopt hexkey:$(printf %032d 7) -macopt hexiv:$(printf %024d 9)" \
    "Poly1305 -macopt hexkey:$(printf %064d 7)" "SipHash -macopt hexkey:$(printf %032d 7)" "KMAC128 -macopt key:mimic"; do
    # shellcheck disable=SC2086 # Words are meant to split.
    echo "${mac%% *} $(openssl mac ${mac#* } -in plain ${mac%% *} 2>&1)"
done
key() { # name, arguments of genpkey
    name=$1
    shift
    if ! openssl genpkey -quiet "$@" -out key.pem 2>error && ! openssl genpkey "$@" -out key.pem 2>error; then
        echo "$name: no key"
        return
    fi
    openssl pkey -in key.pem -pubout -out public.pem
    openssl pkey -in key.pem -check -noout 2>&1 | head -1
    raw=
    case $name in ed*) raw=-rawin ;; esac
    openssl dgst -sha256 -binary plain > digest
    openssl pkeyutl -sign $raw -inkey key.pem -in digest -out signature
    openssl pkeyutl -verify $raw -pubin -inkey public.pem -in digest -sigfile signature
    # A wrong digest must not verify.
    head -c 31 digest > wrong; printf x >> wrong
    cmp -s digest wrong && printf y | dd of=wrong bs=1 seek=31 conv=notrunc 2>/dev/null
    openssl pkeyutl -verify $raw -pubin -inkey public.pem -in wrong -sigfile signature | tail -1
    echo "$name: signed and verified"
}
key rsa-2048 -algorithm RSA -pkeyopt rsa_keygen_bits:2048
for curve in P-256 P-384 P-521 secp256k1; do
    key "ec-$curve" -algorithm EC -pkeyopt "ec_paramgen_curve:$curve"
done
key ed25519 -algorithm ED25519
key ed448 -algorithm ED448
# ECDSA and X25519 with given keys have one right answer.
exchange() {
    openssl genpkey -algorithm "$1" -out a.pem
    openssl genpkey -algorithm "$1" -out b.pem
    openssl pkey -in a.pem -pubout -out a.pub
    openssl pkey -in b.pem -pubout -out b.pub
    openssl pkeyutl -derive -inkey a.pem -peerkey b.pub -out ab
    openssl pkeyutl -derive -inkey b.pem -peerkey a.pub -out ba
    cmp ab ba && echo "$1: both sides derive the same secret"
}
exchange X25519
exchange X448
openssl prime -generate -bits 256 >/dev/null && openssl prime 170141183460469231731687303715884105727
# Speed itself is no result; that every algorithm runs to its end is.
for what in md5 sha1 sha256 sha512 rsa2048 ecdsap256 ecdsap384 ecdhx25519 ed25519; do
    openssl speed -seconds 1 -bytes 1024 $what > log 2>&1
    echo "speed $what: status $?"
    tail -1 log | sed 's/^/# /'
done
for cipher in aes-128-gcm aes-256-gcm aes-128-ccm aes-256-cbc aes-256-ctr aes-256-xts aes-256-ocb chacha20-poly1305; do
    openssl speed -seconds 1 -bytes 1024 -evp $cipher > log 2>&1
    echo "speed $cipher: status $?"
    tail -1 log | sed 's/^/# /'
done
