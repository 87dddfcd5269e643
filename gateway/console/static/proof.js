// Checks a receipt in the browser: RFC 9162 §2.1.3.2 for the hashes, C2SP signed-note for
// the head. It trusts nothing of the page but the log's key.
"use strict";

const bytes = (text) => new TextEncoder().encode(text);
const unbase64 = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
const base64 = (raw) => btoa(String.fromCharCode(...raw));

async function sha256(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return new Uint8Array(await crypto.subtle.digest("SHA-256", whole));
}

const node = (left, right) => sha256(Uint8Array.of(1), left, right);

// The root that a leaf and the hashes beside its path give; null if they fit no such tree.
async function rootOf(leaf, index, size, hashes) {
  if (index >= size) return null;
  let place = index;
  let last = size - 1;
  let root = leaf;
  for (const beside of hashes) {
    if (last === 0) return null;
    if (place % 2 === 1 || place === last) {
      root = await node(beside, root);
      while (place % 2 === 0 && place !== 0) {
        place = Math.floor(place / 2);
        last = Math.floor(last / 2);
      }
    } else {
      root = await node(root, beside);
    }
    place = Math.floor(place / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 ? root : null;
}

// true or false; null where this browser knows no Ed25519.
async function signedBy(note, keys) {
  const end = note.lastIndexOf("\n\n") + 1;
  const text = bytes(note.slice(0, end));
  const signatures = note.slice(end + 1).split("\n").filter((line) => line.startsWith("— "));
  for (const key of keys) {
    const parts = key.split("+");
    const name = parts[0];
    const raw = unbase64(parts.slice(2).join("+"));
    for (const line of signatures) {
      const [by, encoded] = line.slice(2).split(" ");
      const signature = unbase64(encoded);
      const hint = [...signature.slice(0, 4)].map((one) => one.toString(16).padStart(2, "0")).join("");
      if (by !== name || hint !== parts[1] || note.split("\n")[0] !== name) continue;
      let imported;
      try {
        imported = await crypto.subtle.importKey("raw", raw.slice(1), "Ed25519", false, ["verify"]);
      } catch {
        return null;
      }
      if (await crypto.subtle.verify("Ed25519", imported, signature.slice(4), text)) return true;
    }
  }
  return false;
}

function say(name, well, text) {
  const line = document.getElementById(name);
  line.querySelector("code").textContent = text;
  line.className = well ? "good" : "bad";
  line.prepend(well ? "✓ " : well === false ? "✗ " : "? ");
}

async function check() {
  const verdict = document.getElementById("verdict");
  const receipt = JSON.parse(document.getElementById("receipt").textContent);
  const keys = JSON.parse(document.getElementById("note-keys").textContent);
  verdict.firstElementChild.textContent = verdict.dataset.checking;
  const leaf = await sha256(Uint8Array.of(0), bytes(receipt.entry));
  say("check-leaf", true, base64(leaf));
  const hashes = receipt.proof.hashes.map(unbase64);
  const root = await rootOf(leaf, receipt.leaf_index, receipt.proof.tree_size, hashes);
  const [, size, told] = receipt.checkpoint.split("\n");
  say("check-root", root !== null, root === null ? "" : base64(root));
  const same = root !== null && told === base64(root) && Number(size) === receipt.proof.tree_size;
  say("check-head", same, told);
  const signed = await signedBy(receipt.checkpoint, keys);
  say("check-signature", signed, keys[0]);
  const kind = !same || signed === false ? "bad" : signed ? "good" : "unsigned";
  verdict.className = `notice ${kind === "unsigned" ? "warn" : kind}`;
  verdict.firstElementChild.textContent = verdict.dataset[kind];
  verdict.dataset.verdict = kind;
}

document.addEventListener("DOMContentLoaded", () => {
  document.getElementById("print").addEventListener("click", () => print());
  document.getElementById("save").addEventListener("click", () => {
    const receipt = document.getElementById("receipt").textContent;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([receipt], { type: "application/json" }));
    link.download = `${JSON.parse(JSON.parse(receipt).entry).access_id}.receipt.json`;
    link.click();
    URL.revokeObjectURL(link.href);
  });
  check().catch(() => {
    const verdict = document.getElementById("verdict");
    verdict.className = "notice bad";
    verdict.firstElementChild.textContent = verdict.dataset.bad;
    verdict.dataset.verdict = "bad";
  });
});
