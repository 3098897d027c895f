package engagement_test

// Tokens and certificates, beyond the shared conversations.

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	engagement "github.com/engagement-attributes/engagement-attributes/clients/go"
	"github.com/engagement-attributes/engagement-attributes/clients/go/internal/testserver"
	v1 "github.com/engagement-attributes/engagement-attributes/clients/go/v1"
)

func TestTokenLeavesThisMachineInPlainTextOnlyIfThatIsAllowed(t *testing.T) {
	t.Parallel()
	var vectors struct {
		Cases []struct {
			Name          string
			IsThisMachine bool `json:"is_this_machine"`
			HasScheme     bool `json:"has_scheme"`
		}
	}
	readVectors(t, "targets.json", &vectors)
	create := func(target string, options engagement.ClientOptions) error {
		options.Token = "secret"
		client, err := engagement.NewClient(target, account, options)
		if err == nil {
			err = client.Close()
		}
		return err
	}
	for _, c := range vectors.Cases {
		if err := create(c.Name, engagement.ClientOptions{}); (err == nil) != c.IsThisMachine {
			t.Errorf("%s: %v", c.Name, err)
		}
		for _, options := range []engagement.ClientOptions{{AllowPlaintextToken: true}, {TLS: &tls.Config{}}} {
			if err := create(c.Name, options); err != nil {
				t.Errorf("%s: %v", c.Name, err)
			}
		}
	}
}

func TestCallsAtOnceAskForOneToken(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	var mutex sync.Mutex
	asks := 0
	client := connectWith(t, testserver.Start(t).Address, account, engagement.ClientOptions{
		TokenSource: func(context.Context) (engagement.Token, error) {
			mutex.Lock()
			defer mutex.Unlock()
			asks++
			return engagement.Token{Value: "t", ExpiresAt: time.Now().Add(time.Hour)}, nil
		},
	})
	var calls sync.WaitGroup
	for range 10 {
		calls.Go(func() {
			if _, err := client.Server.GetServerInfo(ctx, &v1.GetServerInfoRequest{}); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if asks != 1 {
		t.Errorf("the source is asked %d times", asks)
	}
}

func TestFailureOfATokenSourceIsThatOfTheCall(t *testing.T) {
	t.Parallel()
	ctx := limited(t, testTimeout)
	errVault := errors.New("the vault is closed")
	client := connectWith(t, silentAddress(t), account, engagement.ClientOptions{
		TokenSource: func(context.Context) (engagement.Token, error) { return engagement.Token{}, errVault },
	})
	if _, err := client.Server.GetServerInfo(ctx, &v1.GetServerInfoRequest{}); !errors.Is(err, errVault) {
		t.Error(err)
	}
	for _, err := range client.NewFollower(engagement.Earliest(), engagement.FollowOptions{}).Events(ctx) {
		if !errors.Is(err, errVault) {
			t.Error(err)
		}
	}
	uploader := client.NewUploader(engagement.UploadOptions{})
	if _, err := uploader.Upload(ctx, numbered(1)); !errors.Is(err, errVault) {
		t.Error(err)
	}
}

func TestWaitingForATokenCountsTowardsTheDeadline(t *testing.T) {
	t.Parallel()
	client := connectWith(t, silentAddress(t), account, engagement.ClientOptions{
		Timeout: 50 * time.Millisecond,
		TokenSource: func(ctx context.Context) (engagement.Token, error) {
			<-ctx.Done()
			return engagement.Token{}, ctx.Err()
		},
	})
	_, err := client.Server.GetServerInfo(limited(t, testTimeout), &v1.GetServerInfoRequest{})
	requireKind(t, err, engagement.Deadline)
}

func TestTokenAndSourceExcludeEachOther(t *testing.T) {
	t.Parallel()
	_, err := engagement.NewClient("127.0.0.1:1", account, engagement.ClientOptions{
		Token:       "secret",
		TokenSource: func(context.Context) (engagement.Token, error) { return engagement.Token{}, nil },
	})
	if err == nil {
		t.Error("both are taken")
	}
}

func TestReplacedCertificateIsUsedByTheNextConnection(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	files := engagement.TLSFiles{
		Certificate: filepath.Join(folder, "cert.pem"), Key: filepath.Join(folder, "key.pem"),
	}
	if _, err := engagement.TLSFromFiles(files); err == nil {
		t.Error("files that are not there are taken")
	}
	writePair(t, files, "first")
	config, err := engagement.TLSFromFiles(files)
	if err != nil {
		t.Fatal(err)
	}
	requireShown(t, config, "first")
	writePair(t, files, "second")
	requireShown(t, config, "second")
	// Half of a pair, while the files are being replaced.
	if err := os.WriteFile(files.Key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	requireShown(t, config, "second")
}

// writePair writes a certificate of its own authority, with its key.
func writePair(t *testing.T, files engagement.TLSFiles, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     []string{name},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		files.Certificate: {Type: "CERTIFICATE", Bytes: certificate},
		files.Key:         {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// requireShown fails the test unless a server sees this certificate in a new connection.
func requireShown(t *testing.T, config *tls.Config, name string) {
	t.Helper()
	folder := t.TempDir()
	own := engagement.TLSFiles{
		Certificate: filepath.Join(folder, "cert.pem"), Key: filepath.Join(folder, "key.pem"),
	}
	writePair(t, own, "server")
	pair, err := tls.LoadX509KeyPair(own.Certificate, own.Key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	dialled := config.Clone()
	dialled.InsecureSkipVerify = true
	go func() {
		connection, err := tls.Dial("tcp", listener.Addr().String(), dialled)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = connection.Close() }()
		_, _ = connection.Read(make([]byte, 1))
	}()
	connection, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	accepted := connection.(*tls.Conn)
	if err := accepted.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if shown := accepted.ConnectionState().PeerCertificates[0].Subject.CommonName; shown != name {
		t.Errorf("the server sees %q, not %q", shown, name)
	}
}

// listedToken is an answer of a function for tokens.
type listedToken struct {
	Token            string
	ExpiresInSeconds float64 `json:"expires_in_seconds"`
}

// listedTokens answers in order, and then with the last one.
type listedTokens struct {
	answers []listedToken
	asks    int
}

func (l *listedTokens) next(context.Context) (engagement.Token, error) {
	answer := l.answers[min(l.asks, len(l.answers)-1)]
	l.asks++
	token := engagement.Token{Value: answer.Token}
	if answer.ExpiresInSeconds != 0 {
		token.ExpiresAt = time.Now().Add(time.Duration(answer.ExpiresInSeconds * float64(time.Second)))
	}
	return token, nil
}
