#!/bin/sh
# Makes the secrets that docker-compose.yml names, once, in deploy/compose/secrets/, and
# says in .env whose they are. Its argument is the log's name (GATEWAY_LOG_ORIGIN), which
# is signed with every head and never changes. It never replaces a secret: without the
# pepper and the subject keys no key is valid and no entry about a resident is found.
set -eu
umask 077
cd "$(dirname "$0")"

case ${1-} in
'' | *[!0-9A-Za-z./_-]*)
    echo "usage: make-secrets.sh log.example/residents   (the log's name: letters, digits, . / _ -)" >&2
    exit 2
    ;;
esac

if [ -e secrets ]; then
    echo "deploy/compose/secrets is there already; nothing was changed." >&2
    exit 1
fi
# Made beside and renamed, so that an interrupted run leaves nothing that looks whole.
rm -rf secrets.new
mkdir secrets.new
cd secrets.new

secret() { od -An -vtx1 -N32 /dev/urandom | tr -d ' \n'; }
dsn() { printf '%s=postgresql://gateway_%s:%s@postgres:5432/gateway?sslmode=disable\n' "$1" "$2" "$(cat "gateway_$2")"; }

# Read inside containers by other accounts, so open to all; the folder around them is not.
for name in postgres gateway_owner gateway_hot gateway_registry gateway_sealer gateway_auditor gateway_receipts gateway_admin; do
    secret > "$name"
    chmod 0644 "$name"
done
valkey=$(secret)
printf 'requirepass %s\n' "$valkey" > valkey
chmod 0644 valkey

# The gateway refuses these if others than their owner may read them.
printf '1:%s\n' "$(secret)" > pepper
printf '1:%s\n' "$(secret)" > subject-keys
printf '1:%s\n' "$(secret)" > signing-key

{
    dsn GATEWAY_POSTGRES_DSN hot
    dsn GATEWAY_REGISTRY_DSN registry
    dsn GATEWAY_AUDITOR_DSN auditor
    dsn GATEWAY_RECEIPTS_DSN receipts
    dsn GATEWAY_SEALER_DSN sealer
    # For the routes /admin/…: without this line the gateway does not have them.
    dsn GATEWAY_ADMIN_DSN admin
    printf 'GATEWAY_REDIS_URL=redis://:%s@valkey:6379/0\n' "$valkey"
    printf 'GATEWAY_LOG_ORIGIN=%s\n' "$1"
} > serve.env
dsn GATEWAY_OWNER_DSN owner > owner.env
dsn GATEWAY_ADMIN_DSN admin > admin.env

# Where days lie that are archived.
mkdir -p ../archive
uid=$(id -u)
gid=$(id -g)
if [ "$uid" -eq 0 ]; then
    # The gateway never runs as root: the files go to the account of its image.
    uid=10001
    gid=10001
    chown "$uid:$gid" pepper subject-keys signing-key ../archive
fi
cd ..
{
    # What else .env says stays.
    if [ -e ../../.env ]; then sed '/^GATEWAY_[UG]ID=/d' ../../.env; fi
    printf 'GATEWAY_UID=%s\nGATEWAY_GID=%s\n' "$uid" "$gid"
} > ../../.env.new
mv ../../.env.new ../../.env
mv secrets.new secrets
echo "Made deploy/compose/secrets and .env. Keep a copy of pepper, subject-keys and signing-key elsewhere." >&2
