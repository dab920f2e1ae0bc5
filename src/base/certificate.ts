/** What is wrong with a server's certificate, by the error code of a connection, and what mends it. */

const PROBLEMS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'its certificate has expired; renew it where it runs',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet; set the clocks of both machines',
  ERR_TLS_CERT_ALTNAME_INVALID:
    'its certificate is for another name; use an address that it names, or say with serverName: which one',
  CERT_REVOKED: 'its certificate was revoked; give it another one',
  CERT_SIGNATURE_FAILURE: 'its certificate is not what its issuer signed; give it another one',
};

/** Who signed it is not known here. */
const UNTRUSTED: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_UNTRUSTED',
]);

/** Half a sentence that begins with `its`; undefined: the code is not about certificates. */
export function certificateProblem(code: unknown): string | undefined {
  if (typeof code !== 'string') return undefined;
  if (Object.hasOwn(PROBLEMS, code)) return PROBLEMS[code];
  if (UNTRUSTED.has(code)) {
    return `its certificate is signed by nobody who is trusted here (${code}); name its issuer's file with ca:`;
  }
  if (/WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG/.test(code)) {
    return 'it does not speak TLS; use http:// in its address';
  }
  return /CERT|TLS|SSL|ISSUER/.test(code) ? `its certificate is not accepted (${code})` : undefined;
}
