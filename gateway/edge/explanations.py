"""GET /problems/<slug>: each problem explained, in Indonesian and in English."""

from html import escape
from typing import Final

from litestar import MediaType, Response, get
from litestar.params import FromPath

from gateway.edge.caller import MOST_BATCH_BODY, MOST_BODY
from gateway.edge.jobs import MOST_JOB_BODY, NDJSON
from gateway.edge.rendering import KEY_REUSED, STATUS, TITLE
from gateway.edge.rendering import problem as problem_document
from gateway.problems import NotFound
from gateway.vocabulary import Reason

_KIB: Final = 1024
_MIB: Final = 1024 * 1024
# What a body may be long: of most routes, of a batch, of a job.
_BODY: Final = f"{MOST_BODY // _KIB} KiB"
_BATCH: Final = f"{MOST_BATCH_BODY // _MIB} MiB"
_JOB: Final = f"{MOST_JOB_BODY // _MIB} MiB"

# Slug: (Indonesian, English).
EXPLANATION: Final = {
    Reason.UNAUTHENTICATED: (
        "Kunci tidak disertakan, salah bentuk, tidak dikenal, kedaluwarsa, atau dicabut, "
        "atau sambungan tidak memakai sertifikat klien yang mengikat lembaga. "
        "Kirim kunci hanya dalam header Authorization: Bearer.",
        "The key is missing, malformed, unknown, expired or revoked, or the connection has "
        "none of the client certificates that the institution is bound to; the answer does "
        "not say which. Send it only in the header Authorization: Bearer.",
    ),
    Reason.FORBIDDEN: (
        "Kredensial ini sah, tetapi bukan untuk rute ini. Bila ada `detail`: petugas lain "
        "harus menyetujuinya terlebih dahulu.",
        "The credential is valid, but of the wrong kind or role for this route. Where there "
        "is a `detail`: somebody else of staff has to approve it first.",
    ),
    Reason.ADDRESS_NOT_ALLOWED: (
        "Kunci ini hanya boleh dipakai dari alamat yang terdaftar.",
        "This key may be used only from the addresses on its allow list.",
    ),
    Reason.AGREEMENT_INACTIVE: (
        "Perjanjian kerja sama belum mulai, sudah berakhir, atau ditangguhkan.",
        "The agreement has not begun, has ended or is suspended.",
    ),
    Reason.NOT_GRANTED: (
        "Tujuan, operasi, atau data yang diminta tidak tercakup dalam perjanjian. "
        "Anggota `fields` menyebut data yang tidak tercakup.",
        "The purpose, the operation or some fields are not in the agreement's grants. "
        "The member `fields` names the fields outside.",
    ),
    Reason.INVALID_REQUEST: (
        "Permintaan tidak sah. Anggota `errors` menyebut semua kesalahan beserta "
        "tempatnya; nilai yang dikirim tidak diulang.",
        "The request is not valid. The member `errors` names every fault and where it "
        "is; the values sent are not repeated.",
    ),
    Reason.RESIDENT_NOT_FOUND: (
        "Tidak ada penduduk dengan NIK ini. Permintaan tetap dihitung.",
        "Nobody has this NIK. The call is charged all the same.",
    ),
    Reason.IDEMPOTENCY_CONFLICT: (
        "Idempotency-Key ini masih diproses (409): tunggu selama Retry-After. Atau sudah "
        "dipakai untuk isi lain dalam 24 jam terakhir (422): pakai kunci baru.",
        "This Idempotency-Key is still in progress (409): wait for Retry-After. Or it was "
        "used with another body within the last 24 hours (422): take a new one.",
    ),
    Reason.QUOTA_EXCEEDED: (
        "Batas laju atau kuota habis. Tunggu selama Retry-After; anggota "
        "`violated-policies` menyebut batas yang mana.",
        "A rate or quota is exhausted. Wait for Retry-After; the member "
        "`violated-policies` says which.",
    ),
    Reason.ABNORMAL_USAGE_DETECTED: (
        "Pemakaian tidak wajar terdeteksi. Hubungi pengelola gerbang.",
        "Abnormal use was detected. Speak to those who run the gateway.",
    ),
    Reason.TEMPORARY_REDUCED_CAPACITY: (
        "Batas tidak dapat diperiksa dengan aman saat ini. Coba lagi sebentar lagi.",
        "Limits cannot be checked safely at this moment. Try again shortly.",
    ),
    Reason.AUDIT_UNAVAILABLE: (
        "Log audit tidak dapat ditulis, maka tidak ada data yang dilepas.",
        "The audit log could not be written, so nothing was released.",
    ),
    Reason.REGISTRY_UNAVAILABLE: (
        "Registri penduduk tidak menjawab pada waktunya. Tidak ada yang dihitung.",
        "The registry did not answer in time. Nothing was charged.",
    ),
    Reason.NOT_FOUND: (
        "Tidak ada, atau bukan milik Anda.",
        "There is no such thing, or it is not yours.",
    ),
    Reason.METHOD_NOT_ALLOWED: (
        "Rute ini tidak mempunyai metode itu; lihat header Allow.",
        "The route does not have this method; see the header Allow.",
    ),
    Reason.UNSUPPORTED_MEDIA_TYPE: (
        f"Isi permintaan harus application/json dalam UTF-8; untuk /v1/jobs {NDJSON}.",
        f"The body must be application/json in UTF-8; for /v1/jobs {NDJSON}.",
    ),
    Reason.PAYLOAD_TOO_LARGE: (
        f"Isi permintaan terlalu besar: paling banyak {_BODY}; untuk /v1/batch {_BATCH}, "
        f"untuk /v1/jobs {_JOB}.",
        f"The body is too large: {_BODY} at most; for /v1/batch {_BATCH}, for /v1/jobs "
        f"{_JOB}.",
    ),
    Reason.INTERNAL_ERROR: (
        "Kesalahan di pihak gerbang. Tidak ada yang dihitung.",
        "A fault of the gateway's own. Nothing was charged.",
    ),
    Reason.ARCHIVE_UNAVAILABLE: (
        "Catatan hari-hari yang sudah diarsipkan tidak dapat dibaca saat ini; jawaban "
        "tanpa catatan itu tidak lengkap, maka tidak diberikan. `detail` menyebut sebabnya.",
        "Entries of archived days cannot be read at this moment; an answer without them "
        "would not be whole, so there is none. The member `detail` says why.",
    ),
    Reason.ENTRIES_EXPIRED: (
        "Catatan yang diperlukan sudah melewati masa simpan dan telah dihapus; hanya "
        "segelnya yang disimpan. `detail` menyebut hari-harinya.",
        "Entries that this needs have passed their retention and were removed; their "
        "seals alone are kept. The member `detail` names the days.",
    ),
    Reason.REQUEST_TIMEOUT: (
        "Isi permintaan tidak datang tepat waktu: 10 detik, ditambah satu detik untuk "
        "setiap 16 KiB yang sudah datang. Kirim ulang; tidak ada yang dihitung.",
        "The body did not come in time: 10 seconds, and one more for each 16 KiB that "
        "has come. Send it again; nothing was charged.",
    ),
}

# A reason has one status, and this one has two.
_STATUSES: Final = {
    Reason.IDEMPOTENCY_CONFLICT: f"{KEY_REUSED}, {STATUS[Reason.IDEMPOTENCY_CONFLICT]}"
}

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{slug}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"></head>
<body><main><h1>{title}</h1><p>{status} <code>{slug}</code></p>
<h2 lang="id">Bahasa Indonesia</h2><p lang="id">{indonesian}</p>
<h2>English</h2><p>{english}</p></main></body></html>
"""


@get("/problems/{slug:str}", include_in_schema=False)
async def explain(slug: FromPath[str]) -> Response[bytes]:
    reason = Reason.worded(slug)
    if reason is None:
        return problem_document(NotFound())
    indonesian, english = EXPLANATION[reason]
    page = _PAGE.format(
        slug=reason.word,
        title=escape(TITLE[reason]),
        status=_STATUSES.get(reason, STATUS[reason]),
        indonesian=escape(indonesian),
        english=escape(english),
    )
    return Response(page.encode(), media_type=MediaType.HTML)
