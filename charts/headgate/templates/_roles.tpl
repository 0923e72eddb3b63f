{{/* The rules of roles: exactly the verbs that are used. */}}

{{/* What is watched, and what is written about it, in the namespaces that are served. */}}
{{- define "headgate.rulesOfServed" -}}
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [services, secrets]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
- apiGroups: [headgate.dev]
  resources: [proxypolicies]
  verbs: [list, watch]
- apiGroups: [networking.k8s.io]
  resources: [ingresses/status]
  verbs: [patch]
- apiGroups: [headgate.dev]
  resources: [proxypolicies/status]
  verbs: [patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* What belongs to no namespace. */}}
{{- define "headgate.rulesOfCluster" -}}
- apiGroups: [networking.k8s.io]
  resources: [ingressclasses]
  verbs: [list, watch]
{{- if .Values.controller.scope.namespaceSelector }}
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
{{- end }}
{{- if .Values.controller.enableTopologyAwareRouting }}
- apiGroups: [""]
  resources: [nodes]
  verbs: [list, watch]
{{- end }}
{{- end -}}

{{/* What is in the controller's own namespace. The name of a Lease does not count when it is created. */}}
{{- define "headgate.rulesOfOwn" -}}
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [{{ include "headgate.fullname" . }}]
  verbs: [list, watch]
{{- if and .Values.rbac.scope (ne (include "headgate.watchedNamespace" .) (include "headgate.namespace" .)) }}
{{- with include "headgate.publishService" . | trimPrefix (printf "%s/" (include "headgate.namespace" .)) }}
{{- if not (contains "/" .) }}
- apiGroups: [""]
  resources: [services]
  resourceNames: [{{ . }}]
  verbs: [list, watch]
{{- end }}
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
{{- if not .Values.controller.disableLeaderElection }}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "headgate.electionID" . }}]
  verbs: [get, patch]
{{- end }}
{{- end -}}

{{/* Binds a role to the service account. Call with a dict: root, kind. */}}
{{- define "headgate.binding" -}}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "headgate.serviceAccountName" .root }}
    namespace: {{ include "headgate.namespace" .root }}
{{- end -}}
