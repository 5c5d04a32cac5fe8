// Command node holds the programs of one Kubernetes node in a single binary; the first argument chooses one.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	manager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	"mlflow-deployer/testbed/loopcsi"
)

// kubernetes are the programs that are cobra commands, built only when chosen: each registers flags of its own.
var kubernetes = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": manager.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kube-proxy":              proxy.NewProxyCommand,
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
	"kubectl":                 kubectl.NewDefaultKubectlCommand,
}

func main() {
	if len(os.Args) < 2 {
		fail("usage: node PROGRAM [FLAGS]")
	}
	os.Args = os.Args[1:]
	switch program := os.Args[0]; program {
	case "etcd":
		etcdmain.Main(os.Args)
	case "loop-csi":
		if err := loopcsi.Serve(os.Args[1:]); err != nil {
			fail(err.Error())
		}
	case "loop-provisioner":
		if err := loopcsi.Provision(os.Args[1:]); err != nil {
			fail(err.Error())
		}
	default:
		command, known := kubernetes[program]
		if !known {
			fail(fmt.Sprintf("unknown program %q", program))
		}
		os.Exit(cli.Run(command()))
	}
}

func fail(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(2)
}
