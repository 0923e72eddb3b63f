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
{{- if and .Values.controller.scope.enabled .Values.controller.scope.namespaceSelector }}
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

{{/* What flags name in the controller's own namespace, where another one is served. */}}
{{- define "headgate.rulesOfNamed" -}}
{{- $own := include "headgate.namespace" . -}}
{{- $served := include "headgate.watchedNamespace" . -}}
{{- $flags := merge (include "headgate.ownFlags" . | fromYaml) .Values.controller.extraArgs -}}
{{- range $flag, $resource := dict "default-backend-service" "services" "default-ssl-certificate" "secrets" "publish-service" "services" }}
{{- with get $flags $flag }}
{{- $name := splitList "/" . }}
{{- if eq (first $name) $served }}
{{- else if ne (first $name) $own }}
{{- fail (printf "--%s=%s: rbac.scope gives no rights there; it has to be in namespace %s or %s" $flag . $served $own) }}
{{- else }}
- apiGroups: [""]
  resources: [{{ $resource }}]
  resourceNames: [{{ last $name }}]
  verbs: [list, watch]
{{- if eq $flag "default-backend-service" }}
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What is in the controller's own namespace. The name of a Lease does not count when it is created. */}}
{{- define "headgate.rulesOfOwn" -}}
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [{{ include "headgate.fullname" . }}]
  verbs: [list, watch]
{{- if .Values.rbac.scope }}
{{- include "headgate.rulesOfNamed" . }}
{{- end }}
{{- if include "headgate.publishesNodes" . }}
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
{{- end }}
{{- if and .Values.rbac.scope (ne (include "headgate.watchedNamespace" .) (include "headgate.namespace" .)) }}
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
