"""Every path that the gateway has, and by whom it is answered."""

from typing import Final

from gateway.console import CONSOLE, CONSOLE_OIDC
from gateway.edge import (
    administration,
    auditing,
    explanations,
    exports,
    health,
    identities,
    jobs,
    listings,
    lookups,
    openapi,
    operations,
    proposals,
    rehearsals,
    summaries,
)
from gateway.edge import (
    log as public_log,
)
from gateway.vocabulary import Operation

# Every audited path, with what another method is entered as, and the methods it has.
AUDITED: Final = (
    ("/v1/verify", Operation.VERIFY, "POST"),
    ("/v1/fetch", Operation.FETCH, "POST"),
    ("/v1/batch", Operation.BATCH, "POST"),
    ("/v1/jobs", Operation.JOB_SUBMIT, "POST"),
    ("/v1/jobs/{job_id:str}", Operation.JOB_READ, "GET", "DELETE"),
    ("/v1/jobs/{job_id:str}/results", Operation.JOB_ANSWERS, "GET"),
    ("/v1/account", Operation.ACCOUNT, "GET"),
    ("/v1/receipts/{access_id:str}", Operation.RECEIPT, "GET"),
    ("/audit/entries", Operation.AUDIT_SEARCH, "GET"),
    ("/audit/subject-searches", Operation.AUDIT_SUBJECT_SEARCH, "POST"),
    ("/audit/entries/{access_id:str}", Operation.AUDIT_ENTRY, "GET"),
    ("/audit/entries/{access_id:str}/proof", Operation.AUDIT_PROOF, "GET"),
    ("/audit/summary", Operation.AUDIT_SUMMARY, "GET"),
    ("/audit/export", Operation.AUDIT_EXPORT, "GET"),
    ("/ops/journal", Operation.OPS_JOURNAL, "GET"),
    ("/ops/limits", Operation.OPS_LIMITS, "GET"),
    ("/admin/institutions", Operation.INSTITUTION_READ, "GET", "POST"),
    ("/admin/institutions/{institution:str}", Operation.INSTITUTION_READ, "GET"),
    ("/admin/agreements", Operation.AGREEMENT_READ, "GET", "POST"),
    ("/admin/agreements/{agreement:str}", Operation.AGREEMENT_READ, "GET", "PATCH"),
    ("/admin/keys", Operation.KEY_READ, "GET", "POST"),
    ("/admin/keys/{key:str}", Operation.KEY_READ, "GET", "DELETE"),
    ("/admin/certificates", Operation.CERTIFICATE_READ, "GET", "POST"),
    (
        "/admin/certificates/{certificate:str}",
        Operation.CERTIFICATE_READ,
        "GET",
        "DELETE",
    ),
    ("/admin/proposals", Operation.PROPOSAL_READ, "GET"),
    ("/admin/proposals/{proposal:str}", Operation.PROPOSAL_READ, "GET"),
    ("/admin/proposals/{proposal:str}/approval", Operation.PROPOSAL_APPROVE, "POST"),
    ("/admin/proposals/{proposal:str}/rejection", Operation.PROPOSAL_REJECT, "POST"),
    ("/admin/rehearsals", Operation.LIMITS_REHEARSE, "POST"),
    ("/admin/staff", Operation.STAFF_READ, "GET", "POST"),
    ("/admin/staff/{member:str}", Operation.STAFF_READ, "GET", "DELETE"),
)
ROUTES: Final = (
    lookups.verify,
    lookups.fetch,
    lookups.batch,
    jobs.submit,
    jobs.read,
    jobs.results,
    jobs.cancel,
    lookups.account,
    lookups.receipt,
    auditing.search,
    auditing.search_subject,
    auditing.one_entry,
    auditing.proof,
    exports.export,
    summaries.summary,
    operations.journal,
    operations.limits,
    listings.institutions,
    listings.one_institution,
    listings.agreements,
    listings.one_agreement,
    listings.keys,
    listings.one_key,
    listings.certificates,
    listings.one_certificate,
    listings.staff,
    listings.one_of_staff,
    administration.create_institution,
    administration.create_agreement,
    administration.change_agreement,
    administration.create_key,
    administration.revoke_key,
    administration.bind_certificate,
    administration.unbind_certificate,
    administration.create_staff,
    administration.revoke_staff,
    proposals.listed,
    proposals.one_proposal,
    proposals.approve,
    proposals.reject,
    rehearsals.rehearse,
    public_log.checkpoint,
    public_log.key,
    public_log.inclusion,
    public_log.consistency,
    public_log.range_proof,
    public_log.leaves,
    health.live,
    health.ready,
    health.metrics,
    explanations.explain,
    openapi.document,
    *CONSOLE,
)

# Where an OpenID provider is set up, besides.
OIDC_AUDITED: Final = (
    ("/admin/staff/{member:str}/identity", Operation.STAFF_READ, "PUT", "DELETE"),
)
OIDC_ROUTES: Final = (identities.bind, identities.unbind, *CONSOLE_OIDC)

# What comes by the thousand a second.
EXPRESS: Final = (lookups.verify, lookups.fetch, lookups.batch)
