package engagement

// Encryption of the connection.

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"sync"
)

// TLSWithRoots returns a configuration that trusts only the certificates of a PEM text.
func TLSWithRoots(pem []byte) (*tls.Config, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("engagement: no certificate in the PEM text")
	}
	return &tls.Config{RootCAs: roots}, nil
}

// TLSFiles are the names of PEM files.
type TLSFiles struct {
	// CA has the certificates to trust. Empty: those of the system.
	CA string
	// Certificate and Key identify the client to servers that ask for that. They may be replaced at any time: each new
	// connection uses what the files hold then, or the last good pair while they do not match.
	Certificate, Key string
}

// TLSFromFiles returns a configuration of PEM files.
func TLSFromFiles(files TLSFiles) (*tls.Config, error) {
	config := &tls.Config{}
	if files.CA != "" {
		pem, err := os.ReadFile(files.CA)
		if err != nil {
			return nil, err
		}
		if config, err = TLSWithRoots(pem); err != nil {
			return nil, err
		}
	}
	if files.Certificate == "" && files.Key == "" {
		return config, nil
	}
	pair := &keyPair{files: files}
	if _, err := pair.current(); err != nil {
		return nil, err
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return pair.current()
	}
	return config, nil
}

// keyPair is a certificate with its key, as they are in their files.
type keyPair struct {
	files TLSFiles

	mutex  sync.Mutex
	loaded *tls.Certificate
}

// current reads the pair; it returns the last good one while the files do not match.
func (p *keyPair) current() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(p.files.Certificate, p.files.Key)
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if err == nil {
		p.loaded = &pair
	} else if p.loaded == nil {
		return nil, err
	}
	return p.loaded, nil
}
