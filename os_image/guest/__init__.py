"""The code that runs inside the virtual machine.

It is copied into the image as it stands here and needs nothing but Debian's Python. A client never
imports it and it never imports the client: the two meet only in bytes, and the files under
`tests/golden` hold both sides to the same ones.

In the order in which a boot runs them; the key that the ingress answers with is made by openssl
(blindllama-tls.service), lives in memory and dies with the machine:

- `measured_setup` opens the application's disk and writes down in PCR 15 which one it was.
- `attest` answers a caller's nonce with a quote that binds the nonce to that key.
- `app` starts the containers of the application.
"""
