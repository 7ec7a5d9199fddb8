package main

import (
	"bufio"
	"flag"
	"fmt"
	"net/http"
	"strings"
)

// call sends requests, and prints the answers: lines of `Name=value`, and a blank one after each answer.
func call(arguments []string) error {
	if len(arguments) == 0 {
		return fmt.Errorf("usage: client URL [--method=METHOD] [-H NAME:VALUE] [--count=N]")
	}
	flags := flag.NewFlagSet("client", flag.ContinueOnError)
	var headers words
	method := flags.String("method", http.MethodGet, "the method")
	count := flags.Int("count", 1, "how many requests")
	flags.Var(&headers, "H", "a header, as NAME:VALUE")
	if err := flags.Parse(arguments[1:]); err != nil {
		return err
	}
	if strings.HasPrefix(arguments[0], "grpc://") {
		return callGRPC(arguments[0], *count)
	}
	client := &http.Client{
		Timeout:       patience,
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for number := range *count {
		if err := one(client, number, *method, arguments[0], headers); err != nil {
			return err
		}
	}
	return nil
}

func one(client *http.Client, number int, method, url string, headers words) error {
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		return err
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ":")
		if strings.EqualFold(name, "Host") {
			request.Host = value
		} else {
			request.Header.Add(name, value)
		}
	}
	fmt.Printf("[%d] Url=%s\n", number, url)
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	fmt.Printf("[%d] StatusCode=%d\n", number, response.StatusCode)
	for name, values := range response.Header {
		for _, value := range values {
			fmt.Printf("[%d] ResponseHeader=%s:%s\n", number, name, value)
		}
	}
	scanner := bufio.NewScanner(response.Body)
	for scanner.Scan() {
		fmt.Printf("[%d body] %s\n", number, scanner.Text())
	}
	fmt.Println()
	return scanner.Err()
}
