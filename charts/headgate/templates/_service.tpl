{{/* A Service for traffic. Call with a dict: root, service (its values), suffix. */}}
{{- define "headgate.service" -}}
{{- $service := .service -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "headgate.metadata" (dict "root" .root "suffix" .suffix "labels" $service.labels "annotations" $service.annotations) | nindent 2 }}
spec:
  type: {{ $service.type }}
  {{- $fields := list "externalTrafficPolicy" "internalTrafficPolicy" "trafficDistribution" "sessionAffinity" "clusterIP" "externalIPs"
        "loadBalancerIP" "loadBalancerClass" "loadBalancerSourceRanges" "healthCheckNodePort" "ipFamilyPolicy" "ipFamilies" }}
  {{- $set := dict }}
  {{- range $fields }}
  {{- $_ := set $set . (index $service .) }}
  {{- end }}
  {{- with include "headgate.setOnes" $set | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- if not (kindIs "invalid" $service.allocateLoadBalancerNodePorts) }}
  allocateLoadBalancerNodePorts: {{ $service.allocateLoadBalancerNodePorts }}
  {{- end }}
  ports:
    {{- range $port := list "http" "https" }}
    {{- if index $service (printf "enable%s" (title $port)) }}
    - name: {{ $port }}
      port: {{ index $service.ports $port }}
      targetPort: {{ index $service.targetPorts $port }}
      protocol: TCP
      {{- if $service.appProtocol }}
      appProtocol: {{ $port }}
      {{- end }}
      {{- with index $service.nodePorts $port }}
      nodePort: {{ . }}
      {{- end }}
    {{- end }}
    {{- end }}
  selector:
    {{- include "headgate.selectorLabels" .root | nindent 4 }}
{{- end -}}
