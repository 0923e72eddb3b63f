{{/* What the objects of the Prometheus Operator have in common. */}}

{{/* The metadata of a monitor or rule. Call with a dict: root, values. */}}
{{- define "headgate.monitoringMetadata" -}}
{{- $v := .values -}}
{{- include "headgate.metadata" (dict "root" .root "namespace" $v.namespace "labels" $v.additionalLabels "annotations" $v.annotations) -}}
{{- end -}}

{{/* The fields that ServiceMonitor and PodMonitor share. The job is the release's name: rules and dashboard go by it, and by
the release's namespace. Call with
a dict: root, values, component. */}}
{{- define "headgate.monitor" -}}
jobLabel: app.kubernetes.io/instance
namespaceSelector:
  matchNames:
    - {{ include "headgate.namespace" .root }}
selector:
  matchLabels:
    {{- merge (dict "app.kubernetes.io/component" .component) (include "headgate.selectorLabels" .root | fromYaml) | toYaml | nindent 4 }}
{{- include "headgate.setOnes" (pick .values "targetLabels" "podTargetLabels" "sampleLimit" "targetLimit" "labelLimit") }}
{{- end -}}

{{/* What they say of the port. Call with a dict: values, port. */}}
{{- define "headgate.monitorEndpoint" -}}
port: {{ .port }}
path: /metrics
interval: {{ .values.scrapeInterval }}
honorLabels: {{ .values.honorLabels }}
relabelings:
  - sourceLabels: [__meta_kubernetes_namespace]
    targetLabel: controller_namespace
  {{- with .values.relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- include "headgate.setOnes" (pick .values "scrapeTimeout" "metricRelabelings") }}
{{- end -}}
