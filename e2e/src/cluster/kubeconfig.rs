//! Kubeconfig files, self-contained, so that they can be copied and mounted.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::pki::Identity;
use crate::sandbox::NODE_ADDRESS;

/// Returns the URL of the API server.
pub(super) fn server() -> String {
    format!("https://{NODE_ADDRESS}:6443")
}

/// Renders the kubeconfig of a user that is known by certificate.
pub(super) fn with_certificate(ca_pem: &str, identity: &Identity) -> String {
    render(
        &server(),
        ca_pem,
        &json!({
            "client-certificate-data": STANDARD.encode(&identity.certificate),
            "client-key-data": STANDARD.encode(&identity.key),
        }),
    )
}

/// Renders the kubeconfig of a user that is known by token, for the API server or something in front of it.
pub(super) fn with_token(server: &str, ca_pem: &str, token: &str) -> String {
    render(server, ca_pem, &json!({ "token": token }))
}

/// The text is JSON, which every reader of kubeconfig files takes as the YAML that it is.
fn render(server: &str, ca_pem: &str, user: &Value) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "weir",
            "cluster": { "server": server, "certificate-authority-data": STANDARD.encode(ca_pem) },
        }],
        "users": [{ "name": "weir", "user": user }],
        "contexts": [{ "name": "weir", "context": { "cluster": "weir", "user": "weir" } }],
        "current-context": "weir",
    });
    format!("{config:#}\n")
}
