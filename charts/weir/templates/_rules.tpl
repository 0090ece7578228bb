{{/* What the operator may do in a namespace that it serves; each rule says why. */}}
{{- define "weir.namespaceRules" -}}
# The stacks themselves: read, keep the finalizer, write status.
- apiGroups: [weir.dev]
  resources: [analyticsstacks]
  verbs: [get, list, watch, patch]
- apiGroups: [weir.dev]
  resources: [analyticsstacks/status]
  verbs: [patch]
# An owner reference that blocks the owner's deletion needs this where the admission plugin asks for it.
- apiGroups: [weir.dev]
  resources: [analyticsstacks/finalizers]
  verbs: [update]
# Credentials: the referenced Secrets are read, the stack's own are applied and pruned.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch, delete]
# Children of a stack: applied, watched for drift, pruned when the spec drops them.
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# Why pods of a migration, of a drain or of a rollout do not run, and the message with which they ended; ingest pods are
# asked what they read, and told by an annotation when a mounted Secret changed.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, patch]
# Whether the claim of a spool that is to be drained is still there.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get]
# Transitions are told as events.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
