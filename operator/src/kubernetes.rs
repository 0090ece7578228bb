//! Calls to the API server that every step shares: field managers, server-side apply, delete, with a deadline each.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Field manager of the children of a stack.
pub(crate) const FIELD_MANAGER: &str = "weir-operator";
/// Time that one call to the API server may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Most invalid fields that a refusal names.
const MAX_FIELDS: usize = 8;

/// A call to the API server that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The server answered with an error, or could not be reached.
    #[error("failed to {act} {kind}/{name}")]
    Call {
        /// What was attempted, as a verb.
        act: &'static str,
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// The server's answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// No answer came in time.
    #[error("the API server did not answer in time to {act} {kind}/{name}")]
    Timeout {
        /// What was attempted, as a verb.
        act: &'static str,
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
    },
}

impl Error {
    /// Status code of the server's answer, when there was one.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Call { source, .. } => match &**source {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            Self::Timeout { .. } => None,
        }
    }

    /// Why the server refused an object: its code and reason, and the fields that are invalid. Their values stay out.
    pub(crate) fn refusal(&self) -> Option<String> {
        let Self::Call { source, .. } = self else { return None };
        let kube::Error::Api(status) = &**source else { return None };
        if !matches!(status.code, 400 | 403 | 409 | 422) {
            return None;
        }
        let causes = status.details.iter().flat_map(|details| &details.causes);
        let mut fields: Vec<_> =
            causes.map(|cause| cause.field.as_str()).filter(|field| !field.is_empty()).collect();
        fields.dedup();
        fields.truncate(MAX_FIELDS);
        let refusal = format!("{}: {}", status.code, status.reason);
        Some(if fields.is_empty() { refusal } else { format!("{refusal}: {}", fields.join(", ")) })
    }
}

async fn call<K, T>(
    act: &'static str,
    name: &str,
    future: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error>
where
    K: Resource<DynamicType = ()>,
{
    let kind = || K::kind(&()).into_owned();
    match tokio::time::timeout(CALL_TIMEOUT, future).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => {
            Err(Error::Call { act, kind: kind(), name: name.into(), source: Box::new(source) })
        }
        Err(_elapsed) => Err(Error::Timeout { act, kind: kind(), name: name.into() }),
    }
}

/// Kinds that live in a namespace and can be sent and read.
pub(crate) trait Namespaced:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned
{
}

impl<K> Namespaced for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
{
}

/// Applies an object under the operator's field manager; fields that it names are taken from whoever holds them.
pub(crate) async fn apply<K: Namespaced>(client: &Client, namespace: &str, object: &K) -> Result<K, Error> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let name = object.name_any();
    let params = PatchParams::apply(FIELD_MANAGER).force();
    call::<K, _>("apply", &name, api.patch(&name, &params, &Patch::Apply(object))).await
}

/// Creates an object; a conflict is the answer `None`, since somebody created it first.
pub(crate) async fn create<K: Namespaced>(
    client: &Client,
    namespace: &str,
    object: &K,
) -> Result<Option<K>, Error> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let name = object.name_any();
    let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    match call::<K, _>("create", &name, api.create(&params, object)).await {
        Ok(created) => Ok(Some(created)),
        Err(error) if error.code() == Some(409) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What every patch but an apply is sent with.
fn managed() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() }
}

/// Merges a patch into an object.
pub(crate) async fn merge<K: Namespaced>(
    client: &Client,
    namespace: &str,
    name: &str,
    patch: &serde_json::Value,
) -> Result<K, Error> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    call::<K, _>("patch", name, api.patch(name, &managed(), &Patch::Merge(patch))).await
}

/// Applies a JSON patch, a list of operations that are done all or not at all.
pub(crate) async fn patch_json<K: Namespaced>(
    client: &Client,
    namespace: &str,
    name: &str,
    patch: serde_json::Value,
) -> Result<(), Error> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let send = async {
        let operations = serde_json::from_value(patch).map_err(kube::Error::SerdeError)?;
        api.patch(name, &managed(), &Patch::Json::<()>(operations)).await.map(drop)
    };
    call::<K, _>("patch", name, send).await
}

/// Merges a patch into an object's status.
pub(crate) async fn merge_status<K: Namespaced>(
    client: &Client,
    namespace: &str,
    name: &str,
    patch: &serde_json::Value,
) -> Result<K, Error> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    call::<K, _>("patch the status of", name, api.patch_status(name, &managed(), &Patch::Merge(patch))).await
}

/// Reads an object; `None` when there is none.
pub(crate) async fn fetch<K: Namespaced>(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<K>, Error> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    call::<K, _>("read", name, api.get_opt(name)).await
}

/// Deletes the object with this UID, and no other of its name; an absent object is fine.
pub(crate) async fn delete<K: Namespaced>(
    client: &Client,
    namespace: &str,
    name: &str,
    uid: &str,
) -> Result<(), Error> {
    delete_with::<K>(client, namespace, name, uid, DeleteParams::background()).await
}

/// Reads the metadata of an object; `None` when there is none.
pub(crate) async fn fetch_metadata<K: Namespaced>(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<ObjectMeta>, Error> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    Ok(call::<K, _>("read", name, api.get_metadata_opt(name)).await?.map(|found| found.metadata))
}

/// Deletes the object with this UID after everything that it owns is gone.
pub(crate) async fn delete_foreground<K: Namespaced>(
    client: &Client,
    namespace: &str,
    name: &str,
    uid: &str,
) -> Result<(), Error> {
    delete_with::<K>(client, namespace, name, uid, DeleteParams::foreground()).await
}

async fn delete_with<K: Namespaced>(
    client: &Client,
    namespace: &str,
    name: &str,
    uid: &str,
    params: DeleteParams,
) -> Result<(), Error> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let preconditions = Preconditions { uid: Some(uid.into()), ..Preconditions::default() };
    let params = DeleteParams { preconditions: Some(preconditions), ..params };
    match call::<K, _>("delete", name, api.delete(name, &params)).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use kube::core::Status;

    use super::*;

    /// The answer to a Deployment with these invalid fields.
    pub(crate) fn invalid(fields: &[&str]) -> Error {
        let cause =
            |field: &&str| serde_json::json!({ "message": "Invalid value: \"hunter2\"", "field": field });
        let causes: Vec<_> = fields.iter().map(cause).collect();
        let details = serde_json::from_value(serde_json::json!({ "causes": causes })).unwrap();
        let status = Status::failure("hunter2 is invalid", "Invalid").with_code(422).with_details(details);
        Error::Call {
            act: "apply",
            kind: "Deployment".into(),
            name: "store-ingest".into(),
            source: Box::new(kube::Error::Api(Box::new(status))),
        }
    }

    #[test]
    fn a_refusal_names_the_invalid_fields_and_no_value() {
        let fields = ["spec.template.spec.priorityClassName", "spec.template.spec.tolerations[0].key"];
        assert_eq!(
            invalid(&fields).refusal().unwrap(),
            "422: Invalid: spec.template.spec.priorityClassName, spec.template.spec.tolerations[0].key"
        );
        assert_eq!(invalid(&[]).refusal().unwrap(), "422: Invalid");
    }
}
