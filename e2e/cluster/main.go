// Command cluster is every program of a Kubernetes cluster in one binary.
//
// The first argument names the program, the rest are its own arguments:
//
//	cluster kube-apiserver --secure-port=6443 ...
//
// One binary shares what the programs have in common, so that it is a fifth of their sum and links once.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/ready"
	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubeapiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	kubecontrollermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	kubeproxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	kubescheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// programs holds an entry for each name that the first argument may be.
var programs = map[string]func(){
	"etcd":                    func() { etcdmain.Main(os.Args) },
	"coredns":                 runCoreDNS,
	"kube-apiserver":          func() { runCobra(kubeapiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() { runCobra(kubecontrollermanager.NewControllerManagerCommand()) },
	"kube-scheduler":          func() { runCobra(kubescheduler.NewSchedulerCommand()) },
	"kube-proxy":              func() { runCobra(kubeproxy.NewProxyCommand()) },
	"kubelet":                 func() { runCobra(kubelet.NewKubeletCommand(context.Background())) },
}

func main() {
	if len(os.Args) < 2 || programs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: cluster PROGRAM [ARGUMENT...], where PROGRAM is one of:")
		for name := range programs {
			fmt.Fprintln(os.Stderr, "  "+name)
		}
		os.Exit(2)
	}
	run := programs[os.Args[1]]
	// Each program parses os.Args itself and expects its own name first.
	os.Args = os.Args[1:]
	run()
}

func runCobra(command *cobra.Command) {
	os.Exit(cli.Run(command))
}

// runCoreDNS replaces the built-in list of directives: each one listed must have its plugin linked in.
func runCoreDNS() {
	dnsserver.Directives = []string{"bind", "errors", "log", "health", "ready", "cache", "hosts", "kubernetes"}
	coremain.Run()
}
